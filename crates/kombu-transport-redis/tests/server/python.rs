//! Rust and Python on the same keys, all of them with a prefix.

use kombu_conformance::kit::{Outcome, PYTHON, SOON, fill, next, numbers};
use kombu_conformance::own_cases;
use kombu_core::{Exchange, ExchangeType, Queue};
use serde_json::{Value as Json, json};
use tokio::time::{Duration, interval, timeout};

use crate::ground::{URL, connect, prefix, python};
use crate::raw::Raw;

own_cases! {
    beside topic_tables_of_either_side_are_the_same [PYTHON];
    beside priorities_have_the_same_lists [PYTHON];
    beside fanout_goes_both_ways [PYTHON];
    beside unacked_messages_change_hands [PYTHON];
}

async fn topic_tables_of_either_side_are_the_same() -> Outcome {
    let prefix = prefix("topic");
    let connection = connect(&prefix, "").await?;
    let producer = connection.producer().await?;
    let mut python = python(&prefix)?;
    let mut raw = Raw::connect(URL).await?;

    // Python writes the table; Rust declares nothing.
    let exchange = json!({ "name": "topic-theirs", "type": "topic" });
    let queue = json!({ "name": "q", "exchange": exchange, "routing_key": "*.error.#" });
    python.ask("declare", json!({ "queues": [queue] })).await?;
    producer.publish("by rust").to("topic-theirs", "disk.error.full").await?;
    producer.publish("nowhere").to("topic-theirs", "error.full").await?;
    assert_eq!(python.consume("q", 1, "ack", 20.0).await?, ["by rust"]);

    // Rust writes one; Python declares the exchange alone.
    let own = Exchange::new("ours", ExchangeType::Topic);
    let queues = ["*.error.#", "disk.#", "#", "a.*"];
    for (number, key) in queues.iter().enumerate() {
        connection.declare_queue(&Queue::new(format!("q{number}")).bind(&own, *key)).await?;
    }
    let exchange = json!({ "name": "ours", "type": "topic" });
    let publish =
        json!({ "body": "by python", "exchange": exchange, "routing_key": "disk.error.x" });
    python.ask("publish", publish).await?;
    for (number, expected) in [1, 1, 1, 0].into_iter().enumerate() {
        assert_eq!(connection.size(&format!("q{number}")).await?, expected, "{}", queues[number]);
    }

    // The same bindings made by both are the same members.
    let table = format!("{prefix}_kombu.binding.ours");
    let mut before = raw.ask(&["SMEMBERS", &table]).await?;
    for (number, key) in queues.iter().enumerate() {
        let queue =
            json!({ "name": format!("q{number}"), "exchange": exchange, "routing_key": key });
        python.ask("declare", json!({ "queues": [queue] })).await?;
    }
    let mut after = raw.ask(&["SMEMBERS", &table]).await?;
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after);
    all_keys_have(&mut raw, &prefix, "topic-theirs").await?;
    for number in 0..queues.len() {
        connection.delete_queue(&format!("q{number}")).await?;
    }
    python.ask("delete", json!({ "queues": ["q"] })).await?;
    Ok(connection.close().await?)
}

async fn priorities_have_the_same_lists() -> Outcome {
    let prefix = prefix("priority");
    let connection = connect(&prefix, "").await?;
    let producer = connection.producer().await?;
    let mut python = python(&prefix)?;
    let mut raw = Raw::connect(URL).await?;
    let queue = Queue::new("by-priority");
    let given: [u8; 10] = [9, 6, 3, 0, 8, 5, 2, 7, 4, 1];
    // The first of a step first, and within a step as they came.
    let expected = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9];

    for priority in given {
        producer.publish(&priority).to_queue(&queue).priority(priority).await?;
    }
    all_keys_have(&mut raw, &prefix, "by-priority").await?;
    let mut came = Vec::new();
    for _ in given {
        came.push(
            python.ask("get", json!({ "queue": "by-priority", "no_ack": true })).await?["body"]
                .take(),
        );
    }
    assert_eq!(json!(came), json!(expected));

    for priority in given {
        let publish =
            json!({ "body": priority, "routing_key": "by-priority", "priority": priority });
        python.ask("publish", publish).await?;
    }
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(numbers(&mut consumer, 10).await?, expected);
    connection.delete_queue("by-priority").await?;
    Ok(connection.close().await?)
}

async fn fanout_goes_both_ways() -> Outcome {
    let prefix = prefix("fanout");
    let connection = connect(&prefix, "").await?;
    let mut python = python(&prefix)?;
    let news = Exchange::fanout("news");
    let queue = Queue::new("listening").bind(&news, "");
    let mut consumer = connection.consumer(&queue).start().await?;
    let exchange = json!({ "name": "news", "type": "fanout" });
    for key in ["", "with.key"] {
        let publish = json!({ "body": key, "exchange": exchange, "routing_key": key });
        python.ask("publish", publish).await?;
        let delivery = next(&mut consumer).await?;
        assert_eq!((delivery.exchange(), delivery.routing_key()), ("news", key));
        delivery.ack_confirmed().await?;
    }

    let theirs = json!({ "name": "theirs", "exchange": exchange });
    python.ask("declare", json!({ "queues": [theirs] })).await?;
    let producer = connection.producer().await?;
    let mut receiving = std::pin::pin!(timeout(SOON, python.consume("theirs", 1, "ack", 20.0)));
    // Nobody says when it listens.
    let mut again = interval(Duration::from_millis(100));
    let came = loop {
        tokio::select! {
            came = &mut receiving => break came??,
            _ = again.tick() => producer.publish("heard").to(&news, "").await?,
        }
    };
    assert_eq!(came, ["heard"]);
    consumer.close().await?;
    connection.delete_queue("listening").await?;
    Ok(connection.close().await?)
}

/// Requeued, given back by one who leaves in good order, recorded by one side and settled by the
/// other's rules.
async fn unacked_messages_change_hands() -> Outcome {
    let prefix = prefix("hands");
    let connection = connect(&prefix, "").await?;
    let mut python = python(&prefix)?;
    let mut raw = Raw::connect(URL).await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..6).await?;

    // From Rust to Python, by leaving.
    let leaving = connect(&prefix, "").await?;
    let mut consumer = leaving.consumer(&queue).prefetch(3).start().await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await?);
    }
    assert_eq!(raw.count(&["HLEN", &format!("{prefix}unacked")]).await?, 3);
    leaving.close().await?;
    let came = python.consume("q", 3, "hold", 20.0).await?;
    assert_eq!(came, [0, 1, 2].map(Json::from), "they are at the head again, in order");

    // From Python to Rust, by leaving.
    python.ask("reconnect", json!({})).await?;
    let mut consumer = connection.consumer(&queue).prefetch(6).start().await?;
    let mut came = Vec::new();
    let mut held = Vec::new();
    for _ in 0..6 {
        let delivery = next(&mut consumer).await?;
        came.push(delivery.decode::<u64>()?);
        held.push(delivery);
    }
    // Kombu itself puts them back in no order.
    came.sort_unstable();
    assert_eq!(came, [0, 1, 2, 3, 4, 5]);

    // From Rust to Python, one by one; the others stay where they are.
    for delivery in held.drain(..2) {
        delivery.requeue().await?;
    }
    consumer.cancel().await;
    let came = python.consume("q", 2, "ack", 20.0).await?;
    assert_eq!(came.len(), 2);
    for delivery in held {
        delivery.ack_confirmed().await?;
    }
    for (command, key) in [("HLEN", "unacked"), ("ZCARD", "unacked_index"), ("LLEN", "q")] {
        let key = format!("{prefix}{key}");
        assert_eq!(raw.count(&[command, &key]).await?, 0, "{command} {key}");
    }
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// Checks that there are keys with a name in them that only this case has, and that all of those
/// have the prefix.
async fn all_keys_have(raw: &mut Raw, prefix: &str, name: &str) -> Outcome {
    let keys = raw.ask(&["KEYS", &format!("*{name}*")]).await?;
    let own = keys.iter().filter(|key| key.starts_with(prefix)).count();
    assert!(own > 0 && own == keys.len(), "{keys:?}");
    Ok(())
}
