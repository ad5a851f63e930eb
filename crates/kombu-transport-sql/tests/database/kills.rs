//! Consumers that are killed lose nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::{Duration, sleep, timeout};
use uuid::Uuid;

use crate::case::{Outcome, cases};
use crate::doomed::{Process, Work};
use crate::ground::{connect, fill, next, queue, say, url, variable};

cases! {
    a_killed_consumers_messages_come_back_in_order [];
    kills_at_random_moments_lose_nothing [];
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

/// Two consumers at a time are killed, at random moments from their start on, while messages are
/// published all the while. The number of kills is that of `KOMBU_TEST_SQL_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing() -> Outcome {
    let kills: usize = variable("KOMBU_TEST_SQL_KILLS").map_or(Ok(50), |count| count.parse())?;
    let connection = connect().await?;
    let queue = queue("kills");
    connection.declare_queue(&queue).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (producer, queue, stop) =
            (connection.producer().await?, queue.clone(), Arc::clone(&stop));
        async move {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let batch = (sent..sent + 50).map(|id| producer.publish(&id).to_queue(&queue));
                for result in producer.publish_batch(batch).await {
                    result?;
                }
                sent += 50;
                sleep(Duration::from_millis(40)).await;
            }
            Ok::<_, kombu_core::Error>(sent)
        }
    });
    let mut came: BTreeMap<u64, usize> = BTreeMap::new();
    let mut note = |numbers: Vec<u64>| {
        numbers.into_iter().for_each(|number| *came.entry(number).or_default() += 1);
    };
    let url = url("visibility_timeout=1");
    let start = || Process::start(&url, queue.name(), Work::Consume { prefetch: 30 });
    let mut older = start()?;
    for round in 1..kills {
        let younger = start()?;
        if round % 2 == 0 {
            // Every other one is killed while it works; some are not that far.
            note(older.has_said(1).await?);
        }
        let moment = Uuid::new_v4().as_u128() % 250;
        sleep(Duration::from_millis(u64::try_from(moment)?)).await;
        note(older.kill().await?);
        older = younger;
    }
    note(older.kill().await?);
    stop.store(true, Ordering::Relaxed);
    let sent = publishing.await??;

    let mut consumer = connection.consumer(&queue).start().await?;
    // What was held comes back within the timeout and the time between two looks.
    while let Ok(delivery) = timeout(Duration::from_secs(5), next(&mut consumer)).await {
        let delivery = delivery?;
        note(vec![delivery.decode()?]);
        delivery.ack_confirmed().await?;
    }
    consumer.close().await?;
    let missing: Vec<_> = (0..sent).filter(|id| !came.contains_key(id)).collect();
    assert!(missing.is_empty(), "{} of {sent} are lost: {missing:?}", missing.len());
    assert_eq!(came.keys().sum::<u64>(), (0..sent).sum::<u64>());
    let again = came.values().filter(|times| **times > 1).count();
    assert!(again > 0, "no kill left anything behind, in {sent} messages");
    say(format_args!("{kills} kills: {sent} messages came, {again} of them more than once"));
    assert_eq!(connection.delete_queue(queue.name()).await?, 0);
    Ok(connection.close().await?)
}
