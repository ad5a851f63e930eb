//! Queues that are full.

use kombu_conformance::kit::{Outcome, fill, until};
use kombu_conformance::own_cases;
use kombu_core::ErrorKind;
use tokio::time::{Duration, sleep};

use crate::ground::{builder, connect, queue, url};

own_cases! {
    beside a_full_queue_refuses_messages_and_takes_them_again [];
}

async fn a_full_queue_refuses_messages_and_takes_them_again() -> Outcome {
    let connection = builder(&url("queue_limit=10")).connect().await?;
    let queue = queue("full");
    fill(&connection, &queue, 0..10).await?;
    let producer = connection.producer().await?.retry(false);
    // Publishers look at the length once a second.
    let mut refused = None;
    until("a publish to be refused", async || {
        refused = producer.publish(&10).to_queue(&queue).await.err();
        sleep(Duration::from_millis(100)).await;
        refused.is_some()
    })
    .await;
    let error = refused.ok_or("no error")?;
    assert_eq!(error.kind(), ErrorKind::Nacked, "{error}");
    assert!(error.to_string().contains("queue_limit is 10"), "{error}");
    let other = connect().await?;
    other.purge(queue.name()).await?;
    producer.publish(&11).to_queue(&queue).await?;
    assert_eq!(other.size(queue.name()).await?, 1);
    other.delete_queue(queue.name()).await?;
    other.close().await?;
    Ok(connection.close().await?)
}
