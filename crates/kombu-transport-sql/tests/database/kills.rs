//! Consumers that are killed lose nothing.

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, count, fill, kill_consumers, next};
use kombu_conformance::own_cases;
use tokio::time::Duration;

use crate::ground::{connect, queue, url};

own_cases! {
    beside a_killed_consumers_messages_come_back_in_order [];
    beside kills_at_random_moments_lose_nothing [];
}

async fn a_killed_consumers_messages_come_back_in_order() -> Outcome {
    let connection = connect().await?;
    let queue = queue("killed");
    fill(&connection, &queue, 0..100).await?;
    let url = url("visibility_timeout=1");
    let mut doomed = Process::start(&url, queue.name(), Work::Hold { prefetch: 100 })?;
    doomed.has_said(100).await?;
    assert_eq!(connection.size(queue.name()).await?, 0, "it held all of them");
    doomed.kill().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = Vec::new();
    for _ in 0..100 {
        let delivery = next(&mut consumer).await?;
        assert!(delivery.is_redelivered());
        came.push(delivery.decode::<u64>()?);
        delivery.ack_confirmed().await?;
    }
    assert_eq!(came, (0..100).collect::<Vec<_>>());
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// The number of kills is that of `KOMBU_TEST_SQL_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing() -> Outcome {
    let connection = connect().await?;
    let queue = queue("kills");
    let (kills, url) = (count("KOMBU_TEST_SQL_KILLS", 50)?, url("visibility_timeout=1"));
    let start = || Process::start(&url, queue.name(), Work::Consume { prefetch: 30 });
    let mut tally = kill_consumers(&connection, &queue, kills, start).await?;
    let consumer = connection.consumer(&queue).start().await?;
    tally.take_the_rest(consumer, Duration::from_secs(5)).await?;
    tally.nothing_is_lost();
    assert_eq!(connection.delete_queue(queue.name()).await?, 0);
    Ok(connection.close().await?)
}
