//! Python's Kombu on the same files.

use std::collections::BTreeMap;

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, PYTHON, Result, fill, next, say};
use kombu_core::{Connection, Queue};
use serde_json::json;
use tokio::time::{Duration, sleep, timeout};

use crate::ground::{Ground, cases};

cases! {
    two_rust_and_two_python_consumers_share_a_queue [PYTHON];
    what_python_writes_is_read_whole [PYTHON];
    python_passes_over_what_rust_holds [PYTHON];
    what_a_killed_rust_consumer_held_comes_to_python [PYTHON];
    python_obeys_the_order_of_rust [PYTHON];
    python_obeys_the_priorities_of_rust [PYTHON];
    bindings_of_both_are_in_one_table [PYTHON];
}

/// Rust publishes, four consume: each message comes once.
async fn two_rust_and_two_python_consumers_share_a_queue(ground: &Ground) -> Outcome {
    let publisher = ground.connect().await?;
    let queue = Queue::new("shared");
    publisher.declare_queue(&queue).await?;
    let mut theirs = Vec::new();
    for _ in 0..2 {
        let mut peer = ground.python()?;
        theirs.push(tokio::spawn(async move {
            loop {
                let came = peer.consume_one_by_one("shared", 1000, 3.0).await?;
                if !came.is_empty() {
                    return Result::Ok(came);
                }
            }
        }));
    }
    let mut ours = Vec::new();
    for _ in 0..2 {
        let connection = ground.connect().await?;
        let queue = queue.clone();
        ours.push(tokio::spawn(async move { slowly(connection, queue).await }));
    }
    for start in (0..COUNT).step_by(50) {
        fill(&publisher, &queue, start..start + 50).await?;
    }

    let mut came: BTreeMap<u64, usize> = BTreeMap::new();
    let mut shares = Vec::new();
    for one in ours {
        let numbers = one.await??;
        shares.push(numbers.len());
        numbers.into_iter().for_each(|number| *came.entry(number).or_default() += 1);
    }
    for one in theirs {
        let numbers = one.await??;
        shares.push(numbers.len());
        for number in numbers {
            *came.entry(number).or_default() += 1;
        }
    }
    say(format_args!("shares of two Rust and two Python consumers: {shares:?}"));
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    assert_eq!(came.len() as u64, COUNT, "some are lost");
    assert!(came.values().all(|times| *times == 1), "some came twice");
    assert_eq!(ground.messages(), Vec::<String>::new());
    Ok(publisher.close().await?)
}

/// Python publishes, and Rust never takes half a message for a whole one, as Kombu itself does.
async fn what_python_writes_is_read_whole(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let mut consumers = Vec::new();
    for _ in 0..2 {
        let connection = ground.connect().await?;
        let queue = queue.clone();
        consumers.push(tokio::spawn(async move { slowly(connection, queue).await }));
    }
    let body = json!("x".repeat(100_000));
    let mut python = ground.python()?;
    let publish = json!({ "body": 7, "routing_key": "q", "count": 500 });
    python.ask("publish", publish).await?;
    let large = json!({ "body": body, "routing_key": "large", "count": 200 });
    let mut consumer = connection.consumer(Queue::new("large")).start().await?;
    let (published, received) = tokio::join!(python.ask("publish", large), async {
        for _ in 0..200 {
            let delivery = next(&mut consumer).await?;
            assert_eq!(json!(delivery.decode::<String>()?), body);
            delivery.ack().await?;
        }
        Ok::<_, kombu_core::Error>(())
    });
    published?;
    received?;
    let mut came = 0;
    for consumer in consumers {
        came += consumer.await??.iter().filter(|number| **number == 7).count();
    }
    assert_eq!(came, 500);
    assert_eq!(ground.beneath(".corrupt"), Vec::<std::path::PathBuf>::new());
    Ok(connection.close().await?)
}

/// Consumes until nothing comes for a while, no faster than Python.
async fn slowly(connection: Connection, queue: Queue) -> kombu_core::Result<Vec<u64>> {
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let mut came = Vec::new();
    while let Ok(Some(delivery)) = timeout(Duration::from_secs(6), consumer.next()).await {
        let delivery = delivery?;
        came.push(delivery.decode()?);
        sleep(Duration::from_millis(2)).await;
        delivery.ack_confirmed().await?;
    }
    consumer.close().await?;
    connection.close().await?;
    Ok(came)
}

async fn python_passes_over_what_rust_holds(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..4).await?;
    let mut consumer = connection.consumer(&queue).prefetch(2).start().await?;
    let held = [next(&mut consumer).await?, next(&mut consumer).await?];
    let mut python = ground.python()?;
    assert_eq!(python.ask("size", json!({ "queue": "q" })).await?, 2);
    assert_eq!(python.consume("q", 4, "ack", 1.0).await?, [json!(2), json!(3)]);
    consumer.cancel().await;
    for delivery in held {
        delivery.requeue().await?;
    }
    assert_eq!(python.consume("q", 2, "ack", 20.0).await?, [json!(0), json!(1)]);
    Ok(connection.close().await?)
}

async fn what_a_killed_rust_consumer_held_comes_to_python(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    fill(&connection, &Queue::new("q"), 0..5).await?;
    let mut doomed = Process::start(&ground.url(), "q", Work::Hold { prefetch: 1000 })?;
    doomed.has_said(5).await?;
    let mut python = ground.python()?;
    assert_eq!(python.ask("get", json!({ "queue": "q" })).await?, json!(null));
    doomed.kill().await?;
    let came = python.consume("q", 5, "ack", 20.0).await?;
    assert_eq!(came, [0, 1, 2, 3, 4].map(|number| json!(number)));
    Ok(connection.close().await?)
}

async fn python_obeys_the_order_of_rust(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    fill(&connection, &Queue::new("q"), 0..300).await?;
    let mut python = ground.python()?;
    let came = python.consume("q", 300, "ack", 20.0).await?;
    assert_eq!(came, (0..300).map(|number| json!(number)).collect::<Vec<_>>());
    Ok(connection.close().await?)
}

async fn python_obeys_the_priorities_of_rust(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let producer = connection.producer().await?;
    for priority in [0, 3, 9, 0, 6] {
        producer.publish(&priority).to("", "q").priority(priority).await?;
    }
    let mut python = ground.python()?;
    let came = python.consume("q", 5, "ack", 20.0).await?;
    assert_eq!(came, [9, 6, 3, 0, 0].map(|number| json!(number)));
    Ok(connection.close().await?)
}

/// Two of each bind to an exchange at the same time, again and again.
async fn bindings_of_both_are_in_one_table(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let mut pythons = [ground.python()?, ground.python()?];
    for python in &mut pythons {
        python.ask("about", json!({})).await?;
    }
    for round in 0..20 {
        let exchange = kombu_core::Exchange::direct(format!("e{round}"));
        connection.declare_exchange(&exchange).await?;
        let name = exchange.name();
        let queue = |side: &str| format!("{side}.{round}");
        let ours = ["r0", "r1"].map(|side| Queue::new(queue(side)).bind(&exchange, "k"));
        let theirs = ["p0", "p1"].map(|side| {
            let exchange = json!({ "name": name, "type": "direct" });
            json!({ "queues": [{ "name": queue(side), "exchange": exchange, "routing_key": "k" }] })
        });
        let [one, two] = &mut pythons;
        let [first, second] = theirs;
        let results = tokio::join!(
            connection.declare_queue(&ours[0]),
            one.ask("declare", first),
            two.ask("declare", second),
            connection.declare_queue(&ours[1]),
        );
        results.0?;
        results.1?;
        results.2?;
        results.3?;
        let text = std::fs::read(ground.control().join(format!("{name}.exchange")))?;
        let table: Vec<(String, String, String)> = serde_json::from_slice(&text)?;
        let bound: Vec<_> = table.iter().map(|(.., queue)| queue.as_str()).collect();
        for side in ["r0", "r1", "p0", "p1"] {
            assert!(bound.contains(&queue(side).as_str()), "round {round}: {bound:?}");
        }
    }
    Ok(connection.close().await?)
}

/// How many messages are published.
const COUNT: u64 = 1000;
