//! Consumers that are killed lose nothing.

use std::collections::BTreeSet;

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, PYTHON, count, fill, kill_consumers, next, numbers};
use kombu_conformance::own_cases;
use kombu_core::Queue;
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::ground::{URL, connect, prefix, python, url};
use crate::raw::Raw;

own_cases! {
    beside a_killed_consumers_messages_come_back_in_order [];
    beside what_a_killed_rust_consumer_held_comes_to_python [PYTHON];
    beside what_a_killed_python_consumer_held_comes_to_rust [PYTHON];
    beside kills_at_random_moments_lose_nothing [PYTHON];
}

/// The URL for a consumer of its own process.
fn process_url(prefix: &str) -> String {
    let options = format!("global_keyprefix={prefix}&visibility_timeout=1");
    url(URL, &options)
}

async fn a_killed_consumers_messages_come_back_in_order() -> Outcome {
    let prefix = prefix("killed");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..100).await?;
    let hold = Work::Hold { prefetch: 100 };
    let mut doomed = Process::start(&process_url(&prefix), "q", hold)?;
    doomed.has_said(100).await?;
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
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

async fn what_a_killed_rust_consumer_held_comes_to_python() -> Outcome {
    let prefix = prefix("rust-killed");
    let connection = connect(&prefix, "").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..100).await?;
    let hold = Work::Hold { prefetch: 100 };
    let mut doomed = Process::start(&process_url(&prefix), "q", hold)?;
    doomed.has_said(100).await?;
    let killed = Instant::now();
    doomed.kill().await?;
    assert_eq!(connection.size("q").await?, 0, "it held all of them");

    let mut python = python(&prefix)?;
    let came = python.consume("q", 100, "ack", 20.0).await?;
    // Its last renewal may have been a third of the timeout before its end.
    assert!(killed.elapsed() > Duration::from_millis(500), "after {:?}", killed.elapsed());
    let came: BTreeSet<_> = came.iter().filter_map(serde_json::Value::as_u64).collect();
    assert_eq!(came, (0..100).collect());
    assert_eq!(python.ask("get", json!({ "queue": "q" })).await?, json!(null));
    nothing_is_left(&prefix).await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

async fn what_a_killed_python_consumer_held_comes_to_rust() -> Outcome {
    let prefix = prefix("python-killed");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..100).await?;
    let mut python = python(&prefix)?;
    assert_eq!(python.consume("q", 100, "hold", 20.0).await?.len(), 100);
    assert_eq!(connection.size("q").await?, 0, "it held all of them");
    python.kill().await?;

    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(numbers(&mut consumer, 100).await?, (0..100).collect::<Vec<_>>());
    consumer.close().await?;
    nothing_is_left(&prefix).await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// In the end a Python and a Rust consumer get what is left. The number of kills is that of
/// `KOMBU_TEST_REDIS_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing() -> Outcome {
    let prefix = prefix("kills");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    let kills = count("KOMBU_TEST_REDIS_KILLS", 50)?;
    let start = || Process::start(&process_url(&prefix), "q", Work::Consume { prefetch: 30 });
    let mut tally = kill_consumers(&connection, &queue, kills, start).await?;
    let share = python(&prefix)?.consume("q", 50, "ack", 20.0).await?;
    tally.note(share.iter().filter_map(serde_json::Value::as_u64));
    let consumer = connection.consumer(&queue).start().await?;
    tally.take_the_rest(consumer, Duration::from_secs(5)).await?;
    tally.nothing_is_lost();
    nothing_is_left(&prefix).await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// Checks that no record is left, and no message.
async fn nothing_is_left(prefix: &str) -> Outcome {
    let mut raw = Raw::connect(URL).await?;
    for (command, key) in [("HLEN", "unacked"), ("ZCARD", "unacked_index"), ("LLEN", "q")] {
        let key = format!("{prefix}{key}");
        assert_eq!(raw.count(&[command, &key]).await?, 0, "{command} {key}");
    }
    Ok(())
}
