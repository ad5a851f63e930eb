//! Entities that one side declares are the same to the other.

use std::time::Duration;

use kombu::{Exchange, ExchangeType, Queue};
use serde_json::json;

use crate::case::cases;
use crate::failure::{Failure, Result};
use crate::pair::Pair;
use crate::post::Post;

cases! {
    queues_are_accepted [];
    queues_with_arguments_are_accepted ["queue_expires", "queue_message_ttl", "max_length", "priority"];
    quorum_queues_are_accepted ["quorum_queues"];
    exchanges_are_accepted ["direct", "fanout", "topic"];
    other_queue_arguments_are_refused ["queue_message_ttl"];
    other_exchange_types_are_refused ["direct", "topic", "shared_bindings", "shared_types"];
    exclusive_queues_belong_to_one_side ["exclusive_queues"];
}

/// The sender declares first, then the receiver: one side's declaration is the other's check.
async fn accepted(pair: &mut Pair, queue: &Queue) -> Result<()> {
    pair.sender.declare(queue).await?;
    pair.receiver.declare(queue).await?;
    pair.send(Post::new("in it").queue(queue)).await?;
    pair.expect_exactly(queue, &["in it"]).await
}

async fn queues_are_accepted(pair: &mut Pair) -> Result<()> {
    let exchange = pair.stage.exchange("exchange", ExchangeType::Direct);
    let plain = pair.stage.queue("plain");
    let bound = pair.stage.queue("bound").bind(&exchange, "one").bind(&exchange, "two");
    let transient = pair.stage.queue("transient").durable(false);
    for queue in [plain, bound, transient] {
        accepted(pair, &queue).await?;
    }
    Ok(())
}

async fn queues_with_arguments_are_accepted(pair: &mut Pair) -> Result<()> {
    let stage = &pair.stage;
    let queues = [
        (stage.queue("expires").expires(Duration::from_millis(61_500)), json!({ "expires": 61.5 })),
        (stage.queue("ttl").message_ttl(Duration::from_secs(60)), json!({ "message_ttl": 60 })),
        (stage.queue("length").max_length(1000), json!({ "max_length": 1000 })),
        (
            stage.queue("bytes").max_length_bytes(5_000_000_000),
            json!({ "max_length_bytes": 5_000_000_000_i64 }),
        ),
        (stage.queue("priority").max_priority(10), json!({ "max_priority": 10 })),
        (
            stage
                .queue("all")
                .expires(Duration::from_secs(60))
                .message_ttl(Duration::from_millis(60_250))
                .max_length(1000)
                .max_length_bytes(1_000_000)
                .max_priority(9)
                .argument("x-overflow", "reject-publish")
                .argument("x-queue-mode", "lazy"),
            json!({
                "expires": 60,
                "message_ttl": 60.25,
                "max_length": 1000,
                "max_length_bytes": 1_000_000,
                "max_priority": 9,
                "queue_arguments": { "x-overflow": "reject-publish", "x-queue-mode": "lazy" },
            }),
        ),
    ];
    for (queue, options) in queues {
        pair.sender.declare_with(&queue, &options).await?;
        pair.receiver.declare_with(&queue, &options).await?;
    }
    Ok(())
}

async fn quorum_queues_are_accepted(pair: &mut Pair) -> Result<()> {
    let queue = pair.stage.queue("quorum").quorum().argument("x-delivery-limit", 5);
    accepted(pair, &queue).await
}

async fn exchanges_are_accepted(pair: &mut Pair) -> Result<()> {
    let stage = &pair.stage;
    let other = stage.exchange("other", ExchangeType::Fanout);
    let mut exchanges = vec![
        other.clone(),
        stage.exchange("direct", ExchangeType::Direct),
        stage.exchange("topic", ExchangeType::Topic).durable(false),
        stage.exchange("auto", ExchangeType::Direct).auto_delete(true),
    ];
    if stage.can().headers {
        exchanges.push(stage.exchange("headers", ExchangeType::Headers));
        exchanges.push(
            stage
                .exchange("arguments", ExchangeType::Direct)
                .argument("alternate-exchange", other.name()),
        );
    }
    for exchange in &exchanges {
        pair.sender.declare_exchange(exchange).await?;
        pair.receiver.declare_exchange(exchange).await?;
    }
    Ok(())
}

/// Fails unless the declaration was refused for its properties.
fn refused(result: Result<()>) -> Result<()> {
    match result {
        Err(failure) if failure.kind == "PreconditionFailed" => Ok(()),
        Err(failure) => Err(failure),
        Ok(()) => Err(Failure::own("other properties were accepted")),
    }
}

/// Both sides notice, and go on.
async fn other_queue_arguments_are_refused(pair: &mut Pair) -> Result<()> {
    let queue = pair.stage.queue("queue");
    let first = queue.clone().message_ttl(Duration::from_millis(60_000));
    let other = queue.clone().message_ttl(Duration::from_millis(60_001));
    pair.sender.declare(&first).await?;
    refused(pair.receiver.declare(&other).await)?;
    refused(pair.receiver.declare(&queue).await)?;
    accepted(pair, &first).await
}

async fn other_exchange_types_are_refused(pair: &mut Pair) -> Result<()> {
    let exchange = pair.stage.exchange("exchange", ExchangeType::Direct);
    pair.sender.declare_exchange(&exchange).await?;
    refused(pair.receiver.declare_exchange(&Exchange::topic(exchange.name())).await)?;
    pair.receiver.declare_exchange(&exchange).await
}

async fn exclusive_queues_belong_to_one_side(pair: &mut Pair) -> Result<()> {
    let queue = pair.stage.queue("queue").durable(false).exclusive(true);
    pair.sender.declare(&queue).await?;
    match pair.receiver.declare(&queue).await {
        Err(failure) if failure.kind == "ResourceLocked" => Ok(()),
        Err(failure) => Err(failure),
        Ok(()) => Err(Failure::own("an exclusive queue was shared")),
    }
}
