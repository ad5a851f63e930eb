//! Processes of both languages on one queue.

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, PYTHON, Peer, Result, fill, say, until};
use kombu_conformance::own_cases;
use kombu_core::{Connection, Queue};
use serde_json::json;

use crate::ground::{connect, queue, url};
use crate::here;

own_cases! {
    beside two_rust_and_two_python_consumers_share_a_queue [PYTHON];
    beside python_goes_on_when_a_rust_consumer_is_killed [PYTHON];
}

const ALL: u64 = 600;

/// Fills a queue as fast as it is emptied, so that everyone has a share.
async fn pour(connection: &Connection, queue: &Queue) -> Outcome {
    for start in (0..ALL).step_by(20) {
        fill(connection, queue, start..start + 20).await?;
        until("others to take most of it", async || {
            connection.size(queue.name()).await.is_ok_and(|left| left < 10)
        })
        .await;
    }
    Ok(())
}

/// A Python process that has imported what it needs.
async fn python(queue: &Queue) -> Result<Peer> {
    let mut python = Peer::start(&url(""), &[])?;
    python.ask("size", json!({ "queue": queue.name() })).await?;
    Ok(python)
}

/// Each message is handled once, by one of four processes.
async fn two_rust_and_two_python_consumers_share_a_queue() -> Outcome {
    let connection = connect().await?;
    let queue = queue("four");
    connection.declare_queue(&queue).await?;
    let (mut first, mut second) = (python(&queue).await?, python(&queue).await?);
    let rust = || Process::start(&url(""), queue.name(), Work::Consume { prefetch: 1 });
    let mut rusts = [rust()?, rust()?];
    let (name, most) = (queue.name(), usize::try_from(ALL)?);
    let (poured, one, two) = tokio::join!(
        pour(&connection, &queue),
        first.consume_one_by_one(name, most, 5.0),
        second.consume_one_by_one(name, most, 5.0),
    );
    poured?;
    let mut shares = vec![one?, two?];
    for rust in &mut rusts {
        shares.push(rust.said()?);
    }
    let counts: Vec<_> = shares.iter().map(Vec::len).collect();
    let mut came: Vec<_> = shares.into_iter().flatten().collect();
    came.sort_unstable();
    assert_eq!(came, (0..ALL).collect::<Vec<_>>(), "shares {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "shares {counts:?}");
    say(format_args!("shares of two Python and two Rust consumers: {counts:?}"));
    assert_eq!(connection.size(name).await?, 0);
    for rust in rusts {
        rust.kill().await?;
    }
    connection.delete_queue(name).await?;
    Ok(connection.close().await?)
}

/// What it held comes to Python, and nothing else comes twice.
async fn python_goes_on_when_a_rust_consumer_is_killed() -> Outcome {
    const HELD: usize = 30;
    let connection = connect().await?;
    let queue = queue("left");
    fill(&connection, &queue, 0..100).await?;
    let hold = Work::Hold { prefetch: u16::try_from(HELD)? };
    let mut rust = Process::start(&url(here::IMPATIENT), queue.name(), hold)?;
    let held = rust.has_said(HELD).await?;
    let mut python = python(&queue).await?;
    let before = python.consume_one_by_one(queue.name(), 20, 10.0).await?;
    assert!(before.iter().all(|number| !held.contains(number)), "{before:?}, held {held:?}");
    rust.kill().await?;
    let after = python.consume_one_by_one(queue.name(), 80, 15.0).await?;
    let mut all = [before, after].concat();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
