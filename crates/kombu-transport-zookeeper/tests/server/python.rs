//! Rust and Python's Kombu on the same queues: `interop/peer.py`, asked line by line.

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, PYTHON, Peer, Result, fill, next, numbers, say, until};
use kombu_conformance::own_cases;
use kombu_core::Queue;

use crate::ground::{connect, queue, url};
use crate::here;

own_cases! {
    beside what_a_killed_rust_consumer_held_comes_to_python [PYTHON];
    beside a_held_message_is_hidden_from_python [PYTHON];
    beside rust_and_python_consume_together_without_doubles [PYTHON];
    beside what_python_gives_back_comes_to_rust [PYTHON];
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

/// Python alone knows nothing of claims: some connection of this transport gives them back.
async fn what_a_killed_rust_consumer_held_comes_to_python() -> Outcome {
    let connection = connect().await?;
    let queue = queue("rust-killed");
    fill(&connection, &queue, 0..50).await?;
    let hold = Work::Hold { prefetch: 50 };
    let mut doomed = Process::start(&url(here::IMPATIENT), queue.name(), hold)?;
    doomed.has_said(50).await?;
    doomed.kill().await?;
    let mut python = Peer::start(&url(""), &[])?;
    let came = consume(&mut python, &queue, 50, "ack", 20.0).await?;
    assert_eq!(came, (0..50).collect::<Vec<_>>());
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// Python takes every node in a queue for a message, and deletes it.
async fn a_held_message_is_hidden_from_python() -> Outcome {
    let connection = connect().await?;
    let queue = queue("hidden");
    fill(&connection, &queue, 0..3).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    let mut python = Peer::start(&url(""), &[])?;
    assert_eq!(consume(&mut python, &queue, 3, "ack", 3.0).await?, [1, 2]);
    held.requeue().await?;
    let held = next(&mut consumer).await?;
    assert_eq!((held.decode::<u64>()?, held.is_redelivered()), (0, true));
    held.ack_confirmed().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn rust_and_python_consume_together_without_doubles() -> Outcome {
    const COUNT: u64 = 600;
    let connection = connect().await?;
    let queue = queue("together");
    fill(&connection, &queue, 0..COUNT).await?;
    let mut python = Peer::start(&url(""), &[])?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let theirs = consume(&mut python, &queue, usize::try_from(COUNT / 3)?, "ack", 25.0);
    let ours = async {
        let mut came = Vec::new();
        while came.len() < 2 * usize::try_from(COUNT / 3)? {
            came.extend(numbers(&mut consumer, 1).await?);
        }
        Result::Ok(came)
    };
    let (theirs, ours) = tokio::join!(theirs, ours);
    let (theirs, ours) = (theirs?, ours?);
    say(format_args!("Python got {}, Rust {}", theirs.len(), ours.len()));
    // What Python was too slow for.
    let rest = usize::try_from(COUNT)? - theirs.len() - ours.len();
    let rest = numbers(&mut consumer, rest).await?;
    let mut all = [theirs, ours, rest].concat();
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
    consumer.close().await?;
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
    // Kombu puts it to the end, and marks it.
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
