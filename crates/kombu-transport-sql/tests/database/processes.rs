//! Several processes on one database.

use std::collections::BTreeMap;

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, PYTHON, SOON, fill, next, say};
use kombu_conformance::own_cases;
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use crate::ground::{connect, python, queue, url};

own_cases! {
    beside eight_processes_write_and_read [];
    beside two_rust_and_two_python_consumers_share_a_queue [PYTHON];
}

/// Four publish one message after the other, and four consume. None of them meets an error, and
/// each message comes once.
async fn eight_processes_write_and_read() -> Outcome {
    const EACH: u64 = 150;
    let connection = connect().await?;
    let queue = queue("processes");
    connection.declare_queue(&queue).await?;
    let url = url("");
    let begun = Instant::now();
    let mut consumers = Vec::new();
    let mut publishers = Vec::new();
    for number in 0..4 {
        consumers.push(Process::start(&url, queue.name(), Work::Consume { prefetch: 10 })?);
        let work = Work::Publish { first: number * EACH, count: EACH, batch: 1 };
        publishers.push(Process::start(&url, queue.name(), work)?);
    }
    for publisher in publishers {
        publisher.done().await?;
    }
    let mut came: BTreeMap<u64, usize> = BTreeMap::new();
    let all = usize::try_from(4 * EACH)?;
    while came.len() < all {
        for consumer in &mut consumers {
            for number in consumer.said()? {
                *came.entry(number).or_default() += 1;
            }
        }
        assert!(begun.elapsed() < 3 * SOON, "{} of {all} came", came.len());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        came.into_iter().collect::<Vec<_>>(),
        (0..4 * EACH).map(|n| (n, 1)).collect::<Vec<_>>()
    );
    say(format_args!("eight processes: {all} messages in {:?}", begun.elapsed()));
    for consumer in consumers {
        consumer.kill().await?;
    }
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// Each message is handled once, by one of the four.
async fn two_rust_and_two_python_consumers_share_a_queue() -> Outcome {
    const ALL: u64 = 600;
    let (one, two) = (connect().await?, connect().await?);
    let queue = queue("shared");
    one.declare_queue(&queue).await?;
    let mut pythons = [python()?, python()?];
    for python in &mut pythons {
        // Its tables are there and its imports are done.
        python.ask("size", json!({ "queue": queue.name() })).await?;
    }
    fill(&one, &queue, 0..ALL).await?;
    let mut rusts = Vec::new();
    for connection in [&one, &two] {
        let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
        rusts.push(tokio::spawn(async move {
            let mut came = Vec::new();
            loop {
                let Ok(delivery) =
                    tokio::time::timeout(Duration::from_secs(4), next(&mut consumer)).await
                else {
                    consumer.close().await?;
                    return Ok::<Vec<u64>, kombu_core::Error>(came);
                };
                let delivery = delivery?;
                came.push(delivery.decode()?);
                // Python is slow; it is to have its share.
                sleep(Duration::from_millis(15)).await;
                delivery.ack_confirmed().await?;
            }
        }));
    }
    let name = queue.name();
    let [first, second] = &mut pythons;
    let most = usize::try_from(ALL)?;
    let shares = tokio::join!(
        first.consume_one_by_one(name, most, 4.0),
        second.consume_one_by_one(name, most, 4.0),
    );
    let shares = [shares.0?, shares.1?];
    let mut counts: Vec<usize> = shares.iter().map(Vec::len).collect();
    let mut came: Vec<u64> = shares.into_iter().flatten().collect();
    for rust in rusts {
        let share = rust.await??;
        counts.push(share.len());
        came.extend(share);
    }
    came.sort_unstable();
    assert_eq!(came, (0..ALL).collect::<Vec<_>>(), "shares {counts:?}");
    assert!(counts.iter().all(|count| *count > 0), "shares {counts:?}");
    say(format_args!("shares of two Python and two Rust consumers: {counts:?}"));
    one.delete_queue(queue.name()).await?;
    two.close().await?;
    Ok(one.close().await?)
}
