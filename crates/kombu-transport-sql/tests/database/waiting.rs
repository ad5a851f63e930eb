//! How soon a consumer that waits hears of messages.

use std::time::Duration;

use kombu_conformance::kit::{Outcome, next};
use kombu_conformance::own_cases;
use tokio::time::Instant;

use crate::ground::{builder, queue};

own_cases! {
    beside an_idle_consumer_hears_of_others_messages_soon [];
    beside polling_interval_bounds_the_pause [];
}

async fn an_idle_consumer_hears_of_others_messages_soon() -> Outcome {
    // Transports of their own: as two processes.
    let (from, to) = (builder("").connect().await?, builder("").connect().await?);
    let queue = queue("wake");
    let producer = from.producer().await?;
    let mut consumer = to.consumer(&queue).start().await?;
    let mut times = Vec::new();
    for number in 0..15_u64 {
        // Until it has become slow to look.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = Instant::now();
        producer.publish(&number).to_queue(&queue).await?;
        next(&mut consumer).await?.ack_confirmed().await?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    // Notices, or looks every 50 or 100 ms; the machine may be busy.
    assert!(median < Duration::from_millis(250), "the times were {times:?}");
    consumer.close().await?;
    from.delete_queue(queue.name()).await?;
    to.close().await?;
    Ok(from.close().await?)
}

async fn polling_interval_bounds_the_pause() -> Outcome {
    let from = builder("").connect().await?;
    let to = builder("polling_interval=0.005").connect().await?;
    let queue = queue("poll");
    let producer = from.producer().await?;
    let mut consumer = to.consumer(&queue).start().await?;
    for number in 0..5_u64 {
        producer.publish(&number).to_queue(&queue).await?;
        assert_eq!(next(&mut consumer).await?.decode::<u64>()?, number);
    }
    consumer.close().await?;
    from.delete_queue(queue.name()).await?;
    to.close().await?;
    Ok(from.close().await?)
}
