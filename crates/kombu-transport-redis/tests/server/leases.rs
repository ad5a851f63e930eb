//! Held messages stay with whoever holds them, for as long as it lives.

use kombu_conformance::kit::{Outcome, PYTHON, fill, next};
use kombu_conformance::own_cases;
use kombu_core::Queue;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep_until};

use crate::ground::{connect, prefix, python};

own_cases! {
    beside a_handler_may_outlive_the_visibility_timeout [];
    beside a_handler_may_outlive_the_visibility_timeout_beside_python [PYTHON];
}

async fn a_handler_may_outlive_the_visibility_timeout() -> Outcome {
    let prefix = prefix("lease");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let other = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, [1]).await?;
    let mut one = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut one).await?;
    // Two who look for abandoned messages, for more than three times the timeout.
    let mut two = other.consumer(&queue).prefetch(1).start().await?;
    let end = Instant::now() + Duration::from_secs(4);
    tokio::select! {
        _ = two.next() => panic!("a message that is held came to another consumer"),
        _ = one.next() => panic!("a message that is held came again"),
        () = sleep_until(end) => {}
    }
    held.ack_confirmed().await?;
    assert_eq!(connection.size("q").await?, 0);
    connection.delete_queue("q").await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn a_handler_may_outlive_the_visibility_timeout_beside_python() -> Outcome {
    let prefix = prefix("lease-python");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, [1]).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    let mut python = python(&prefix)?;
    // It looks for abandoned messages whenever it has nothing to do.
    let four_seconds = json!({ "queues": ["q"], "count": 1, "timeout": 4 });
    assert_eq!(python.ask("consume", four_seconds.clone()).await?, json!([]));
    held.ack_confirmed().await?;
    consumer.close().await?;
    assert_eq!(python.ask("consume", json!({ "queues": ["q"], "timeout": 2 })).await?, json!([]));
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}
