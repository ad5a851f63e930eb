//! Rust and Python's Kombu on the same queues: `interop/peer.py`, asked line by line.

use kombu_conformance::kit::{Outcome, PYTHON, Peer, Result, fill, next, numbers, say, until};
use kombu_conformance::own_cases;
use kombu_core::{Exchange, Queue};
use serde_json::json;

use crate::ground::{connect, queue, url};

own_cases! {
    beside rust_and_python_consume_together_without_doubles [PYTHON];
    beside what_rust_gives_back_comes_to_python [PYTHON];
    beside what_python_gives_back_comes_to_rust [PYTHON];
    beside exchanges_and_bindings_do_not_disturb_python [PYTHON];
    beside what_python_published_is_emptied_by_rust [PYTHON];
}

/// The numbers that Python receives.
async fn consume(
    python: &mut Peer,
    queue: &Queue,
    count: usize,
    how: &str,
    seconds: f64,
) -> Result<Vec<u64>> {
    let bodies = python.consume(queue.name(), count, how, seconds).await?;
    bodies.iter().map(|body| body.as_u64().ok_or_else(|| "no number".into())).collect()
}

async fn rust_and_python_consume_together_without_doubles() -> Outcome {
    const COUNT: u64 = 600;
    let connection = connect().await?;
    let queue = queue("together");
    fill(&connection, &queue, 0..COUNT).await?;
    let mut python = Peer::start(&url(""), &[])?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let theirs = consume(&mut python, &queue, usize::try_from(COUNT / 3)?, "ack", 25.0);
    let ours = async { Result::Ok(numbers(&mut consumer, usize::try_from(COUNT / 3)?).await?) };
    let (theirs, ours) = tokio::join!(theirs, ours);
    let (theirs, ours) = (theirs?, ours?);
    say(format_args!("Python got {}, Rust {}", theirs.len(), ours.len()));
    let rest = usize::try_from(COUNT)? - theirs.len() - ours.len();
    let rest = numbers(&mut consumer, rest).await?;
    let mut all = [theirs, ours, rest].concat();
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn what_rust_gives_back_comes_to_python() -> Outcome {
    let connection = connect().await?;
    let queue = queue("given-back");
    fill(&connection, &queue, 0..3).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    let mut python = Peer::start(&url(""), &[])?;
    // A held message is out of the queue, for Python, too.
    assert_eq!(consume(&mut python, &queue, 3, "ack", 3.0).await?, [1, 2]);
    consumer.cancel().await;
    held.requeue().await?;
    consumer.close().await?;
    assert_eq!(consume(&mut python, &queue, 1, "ack", 20.0).await?, [0]);
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn what_python_gives_back_comes_to_rust() -> Outcome {
    let connection = connect().await?;
    let queue = queue("given-back");
    fill(&connection, &queue, 0..2).await?;
    let mut python = Peer::start(&url(""), &[])?;
    assert_eq!(consume(&mut python, &queue, 1, "requeue", 20.0).await?, [0]);
    until("both to wait again", async || connection.size(queue.name()).await.is_ok_and(|n| n == 2))
        .await;
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await?;
        came.push((delivery.decode::<u64>()?, delivery.is_redelivered()));
        delivery.ack_confirmed().await?;
    }
    assert_eq!(came, [(1, false), (0, true)]);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// They are names among those of queues, and Python lists them at each step.
async fn exchanges_and_bindings_do_not_disturb_python() -> Outcome {
    let connection = connect().await?;
    let exchange = Exchange::topic(queue("topics").name());
    let bound = queue("bound").bind(&exchange, "a.\"ä\".#");
    connection.declare_queue(&bound).await?;
    let mut python = Peer::start(&url(""), &[])?;
    // To Rust's exchange Python publishes after declaring it and its binding, as everywhere.
    let binding = json!({
        "name": bound.name(), "exchange": { "name": exchange.name(), "type": "topic" },
        "routing_key": "a.*",
    });
    let publish = json!({
        "body": 7, "routing_key": "a.b", "declare": [binding],
        "exchange": { "name": exchange.name(), "type": "topic" },
    });
    python.ask("publish", publish).await?;
    assert_eq!(python.ask("size", json!({ "queue": bound.name() })).await?, 1);
    connection.producer().await?.publish(&8).to(&exchange, "a.\"ä\"").await?;
    assert_eq!(consume(&mut python, &bound, 2, "ack", 20.0).await?, [7, 8]);
    python.ask("delete", json!({ "queues": [bound.name()] })).await?;
    connection.delete_queue(bound.name()).await?;
    Ok(connection.close().await?)
}

async fn what_python_published_is_emptied_by_rust() -> Outcome {
    let connection = connect().await?;
    let queue = queue("emptied");
    let mut python = Peer::start(&url(""), &[])?;
    let publish = json!({ "body": "x", "routing_key": queue.name(), "count": 120 });
    python.ask("publish", publish).await?;
    assert_eq!(connection.purge(queue.name()).await?, 120);
    assert_eq!(python.ask("get", json!({ "queue": queue.name() })).await?, json!(null));
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
