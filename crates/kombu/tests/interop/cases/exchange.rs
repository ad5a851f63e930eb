//! Routing: what one side sends to an exchange comes to the queues that the other expects.

use std::time::Duration;

use kombu::{Binding, ExchangeType};

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::post::Post;

cases! {
    default_exchange [];
    direct ["direct"];
    fanout ["fanout", "early_fanout"];
    fanout_to_a_listener ["fanout"];
    headers ["headers"];
    topic ["topic"];
    topic_hash_matches_no_word ["topic", "topic_no_word"];
    late_binding ["direct", "shared_bindings"];
}

async fn default_exchange(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    pair.send(Post::new("hello").queue(&queue)).await?;

    let seen = pair.receive_one(&queue).await?;
    assert_eq!(seen.text()?, "hello");
    assert_eq!(seen.exchange, "");
    assert_eq!(seen.routing_key, queue.name());
    assert!(!seen.redelivered);
    Ok(())
}

async fn direct(pair: &mut Pair) -> Result<()> {
    let (exchange, queues) = pair.bound(ExchangeType::Direct, &["one", "two", "one"]).await?;
    for key in ["one", "two", "three", "one.two", "One"] {
        pair.send(Post::new(key).to(&exchange, key)).await?;
    }
    pair.expect_exactly(&queues[0], &["one"]).await?;
    pair.expect_exactly(&queues[1], &["two"]).await?;

    let seen = pair.receive_one(&queues[2]).await?;
    assert_eq!(seen.exchange, exchange.name());
    assert_eq!(seen.routing_key, "one");
    Ok(())
}

async fn fanout(pair: &mut Pair) -> Result<()> {
    let (exchange, queues) = pair.bound(ExchangeType::Fanout, &["", "ignored", ""]).await?;
    pair.send(Post::new("all").to(&exchange, "")).await?;
    for queue in &queues {
        pair.expect_exactly(queue, &["all"]).await?;
    }
    Ok(())
}

/// The receiver listens before anything is sent.
async fn fanout_to_a_listener(pair: &mut Pair) -> Result<()> {
    let (exchange, queues) = pair.bound(ExchangeType::Fanout, &[""]).await?;
    let post = [Post::new("live").to(&exchange, "")];
    let Pair { sender, receiver, .. } = pair;
    let receiving = receiver.receive(queues[0].name(), 1);
    tokio::pin!(receiving);
    // Nobody says when it listens.
    let mut again = tokio::time::interval(Duration::from_millis(100));
    let seen = loop {
        tokio::select! {
            seen = &mut receiving => break seen?,
            _ = again.tick() => sender.publish(&post).await?,
        }
    };
    assert_eq!(seen[0].text()?, "live");
    assert_eq!(seen[0].exchange, exchange.name());
    Ok(())
}

async fn headers(pair: &mut Pair) -> Result<()> {
    let exchange = pair.stage.exchange("exchange", ExchangeType::Headers);
    let mut queues = Vec::new();
    for mode in ["all", "any"] {
        let binding = Binding::new(&exchange, "")
            .argument("x-match", mode)
            .argument("kind", "video")
            .argument("length", 5_000_000_000_i64);
        let queue = pair.stage.queue(mode).binding(binding);
        pair.declare(&queue).await?;
        queues.push(queue);
    }
    let video = |body: &str| Post::new(body).to(&exchange, "").header("kind", "video");
    pair.send(video("both").header("length", 5_000_000_000_i64)).await?;
    pair.send(video("one")).await?;
    pair.send(video("one and other").header("length", 7)).await?;
    pair.send(Post::new("none").to(&exchange, "").header("kind", "audio")).await?;

    pair.expect_exactly(&queues[0], &["both"]).await?;
    pair.expect_exactly(&queues[1], &["both", "one", "one and other"]).await
}

async fn topic(pair: &mut Pair) -> Result<()> {
    let keys = ["*.error", "disk.#", "*.*.error", "#"];
    let (exchange, queues) = pair.bound(ExchangeType::Topic, &keys).await?;
    for key in ["disk.error", "disk.full.error", "net.error", "error"] {
        pair.send(Post::new(key).to(&exchange, key)).await?;
    }
    pair.expect_exactly(&queues[0], &["disk.error", "net.error"]).await?;
    pair.expect_exactly(&queues[1], &["disk.error", "disk.full.error"]).await?;
    pair.expect_exactly(&queues[2], &["disk.full.error"]).await?;
    let all = ["disk.error", "disk.full.error", "net.error", "error"];
    pair.expect_exactly(&queues[3], &all).await
}

async fn topic_hash_matches_no_word(pair: &mut Pair) -> Result<()> {
    let keys = ["disk.#", "#.error", "disk.#.error"];
    let (exchange, queues) = pair.bound(ExchangeType::Topic, &keys).await?;
    for key in ["disk", "error", "disk.error", "diskerror"] {
        pair.send(Post::new(key).to(&exchange, key)).await?;
    }
    pair.expect_exactly(&queues[0], &["disk", "disk.error"]).await?;
    pair.expect_exactly(&queues[1], &["error", "disk.error"]).await?;
    pair.expect_exactly(&queues[2], &["disk.error"]).await
}

/// The sender knows nothing of a queue that the receiver binds.
async fn late_binding(pair: &mut Pair) -> Result<()> {
    let exchange = pair.stage.exchange("exchange", ExchangeType::Direct);
    pair.sender.declare_exchange(&exchange).await?;
    pair.send(Post::new("nobody").to(&exchange, "key")).await?;

    let queue = pair.stage.queue("queue").bind(&exchange, "key");
    pair.receiver.declare(&queue).await?;
    pair.send(Post::new("somebody").to(&exchange, "key")).await?;
    pair.expect_exactly(&queue, &["somebody"]).await
}
