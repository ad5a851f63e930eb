//! Consumers that are killed lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kombu_core::Queue;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep, timeout};
use uuid::Uuid;

use crate::case::{Outcome, cases};
use crate::doomed::Doomed;
use crate::ground::{connect, fill, next, numbers, prefix, say, url, variable};
use crate::peer::Peer;
use crate::raw::Raw;

cases! {
    beside a_killed_consumers_messages_come_back_in_order [];
    beside what_a_killed_rust_consumer_held_comes_to_python ["KOMBU_INTEROP_PYTHON"];
    beside what_a_killed_python_consumer_held_comes_to_rust ["KOMBU_INTEROP_PYTHON"];
    beside kills_at_random_moments_lose_nothing ["KOMBU_INTEROP_PYTHON"];
}

/// The URL for a consumer of its own process.
fn doomed_url(prefix: &str) -> String {
    let options = format!("global_keyprefix={prefix}&visibility_timeout=1");
    url("KOMBU_TEST_REDIS_URL", &options)
}

async fn a_killed_consumers_messages_come_back_in_order() -> Outcome {
    let prefix = prefix("killed");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..100).await?;
    let mut doomed = Doomed::start(&doomed_url(&prefix), "q", 100, false)?;
    doomed.has_received(100).await?;
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
    let mut doomed = Doomed::start(&doomed_url(&prefix), "q", 100, false)?;
    doomed.has_received(100).await?;
    let killed = Instant::now();
    doomed.kill().await?;
    assert_eq!(connection.size("q").await?, 0, "it held all of them");

    let mut python = Peer::start(&prefix)?;
    let came = python.consume("q", 100, "ack").await?;
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
    let mut python = Peer::start(&prefix)?;
    assert_eq!(python.consume("q", 100, "hold").await?.len(), 100);
    assert_eq!(connection.size("q").await?, 0, "it held all of them");
    python.kill().await?;

    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(numbers(&mut consumer, 100).await?, (0..100).collect::<Vec<_>>());
    consumer.close().await?;
    nothing_is_left(&prefix).await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// Two Rust consumers at a time are killed, at random moments from their start on, while messages
/// are published all the while. In the end a Rust and a Python consumer get what is left. The
/// number of kills is that of `KOMBU_TEST_REDIS_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing() -> Outcome {
    let prefix = prefix("kills");
    let kills: usize = variable("KOMBU_TEST_REDIS_KILLS").map_or(Ok(50), |count| count.parse())?;
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
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
    let mut older = Doomed::start(&doomed_url(&prefix), "q", 30, true)?;
    for _ in 1..kills {
        let younger = Doomed::start(&doomed_url(&prefix), "q", 30, true)?;
        let moment = Uuid::new_v4().as_u128() % 250;
        sleep(Duration::from_millis(u64::try_from(moment)?)).await;
        note(older.kill().await?);
        older = younger;
    }
    note(older.kill().await?);
    stop.store(true, Ordering::Relaxed);
    let sent = publishing.await??;

    let mut python = Peer::start(&prefix)?;
    let share = python.consume("q", 50, "ack").await?;
    note(share.iter().filter_map(serde_json::Value::as_u64).collect());
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
    nothing_is_left(&prefix).await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// Checks that no record is left, and no message.
async fn nothing_is_left(prefix: &str) -> Outcome {
    let mut raw = Raw::connect("KOMBU_TEST_REDIS_URL").await?;
    for (command, key) in [("HLEN", "unacked"), ("ZCARD", "unacked_index"), ("LLEN", "q")] {
        let key = format!("{prefix}{key}");
        assert_eq!(raw.count(&[command, &key]).await?, 0, "{command} {key}");
    }
    Ok(())
}
