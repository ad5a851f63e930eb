//! What a broker cannot do is refused at once, and never silently left out.

use std::fmt::Debug;
use std::time::Duration;

use kombu_core::{Binding, ErrorKind, Exchange, ExchangeType};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;

cases! {
    unclaimed_direct_is_unsupported ["!direct"];
    unclaimed_topic_is_unsupported ["!topic"];
    unclaimed_fanout_is_unsupported ["!fanout"];
    unclaimed_headers_is_unsupported ["!headers"];
    unclaimed_exchange_type_is_unsupported [];
    unclaimed_exchange_bindings_is_unsupported ["!exchange_bindings", "direct"];
    unclaimed_priority_is_unsupported ["!priority"];
    unclaimed_message_expiration_is_unsupported ["!message_expiration"];
    unclaimed_queue_message_ttl_is_unsupported ["!queue_message_ttl"];
    unclaimed_queue_expires_is_unsupported ["!queue_expires"];
    unclaimed_mandatory_is_unsupported ["!mandatory"];
    unclaimed_exclusive_queues_is_unsupported ["!exclusive_queues"];
    unclaimed_auto_delete_queues_is_unsupported ["!auto_delete_queues"];
    unclaimed_consumer_priority_is_unsupported ["!consumer_priority"];
    unclaimed_dead_letter_is_unsupported ["!dead_letter"];
    unclaimed_max_length_is_unsupported ["!max_length"];
    unclaimed_delayed_delivery_is_unsupported ["!delayed_delivery"];
    unclaimed_quorum_queues_is_unsupported ["!quorum_queues"];
    unclaimed_consumer_count_is_nought ["!consumer_count"];
    unclaimed_delivery_count_is_absent ["!delivery_count"];
}

/// Checks that a call is refused for want of a capability, by name.
fn lacks<T: Debug>(result: kombu_core::Result<T>, capability: &str) -> Outcome {
    let error = refused(result, &[ErrorKind::Unsupported])?;
    if error.to_string().contains(capability) {
        Ok(())
    } else {
        Err(Failure::new(format_args!("it does not name {capability:?}: {error}")))
    }
}

async fn exchange_is_refused(stage: &Stage, kind: ExchangeType) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.exchange("media", kind.clone());
    lacks(connection.declare_exchange(&exchange).await, kind.as_str())?;
    let queue = stage.queue("work").bind(&exchange, "key");
    lacks(connection.declare_queue(&queue).await, kind.as_str())?;
    let producer = connection.producer().await?;
    lacks(producer.publish(&1).to(&exchange, "key").await, kind.as_str())?;
    connection.declare_queue(&stage.queue("usual")).await?;
    Ok(connection.close().await?)
}

async fn unclaimed_direct_is_unsupported(stage: &Stage) -> Outcome {
    exchange_is_refused(stage, ExchangeType::Direct).await
}

async fn unclaimed_topic_is_unsupported(stage: &Stage) -> Outcome {
    exchange_is_refused(stage, ExchangeType::Topic).await
}

async fn unclaimed_fanout_is_unsupported(stage: &Stage) -> Outcome {
    exchange_is_refused(stage, ExchangeType::Fanout).await
}

async fn unclaimed_headers_is_unsupported(stage: &Stage) -> Outcome {
    exchange_is_refused(stage, ExchangeType::Headers).await
}

async fn unclaimed_exchange_type_is_unsupported(stage: &Stage) -> Outcome {
    exchange_is_refused(stage, ExchangeType::from("x-no-such-type")).await
}

async fn unclaimed_exchange_bindings_is_unsupported(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (one, two): (Exchange, Exchange) = (stage.direct("one"), stage.direct("two"));
    connection.declare_exchange(&one).await?;
    connection.declare_exchange(&two).await?;
    let channel = connection.channel();
    let binding = Binding::new(&one, "key");
    lacks(channel.bind_exchange(&two, &binding).await, "exchange_bindings")?;
    lacks(channel.unbind_exchange(&two, &binding).await, "exchange_bindings")?;
    Ok(connection.close().await?)
}

/// Declares a queue that asks for what the broker does not have.
async fn queue_is_refused(
    stage: &Stage,
    queue: fn(kombu_core::Queue) -> kombu_core::Queue,
    capability: &str,
) -> Outcome {
    let connection = stage.connect().await?;
    let queue = queue(stage.queue("work"));
    lacks(connection.declare_queue(&queue).await, capability)?;
    lacks(connection.consumer(&queue).start().await, capability)?;
    connection.declare_queue(&stage.queue("usual")).await?;
    Ok(connection.close().await?)
}

async fn unclaimed_priority_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.max_priority(9), "priority").await
}

async fn unclaimed_message_expiration_is_unsupported(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let publish = producer.publish(&1).to_queue(&queue).expires(Duration::from_secs(1));
    lacks(publish.await, "message_expiration")?;
    Ok(connection.close().await?)
}

async fn unclaimed_queue_message_ttl_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.message_ttl(SECOND), "queue_message_ttl").await
}

async fn unclaimed_queue_expires_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.expires(SECOND), "queue_expires").await
}

async fn unclaimed_mandatory_is_unsupported(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    lacks(producer.publish(&1).to_queue(&queue).mandatory(true).await, "mandatory")?;
    Ok(connection.close().await?)
}

async fn unclaimed_exclusive_queues_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.exclusive(true), "exclusive_queues").await
}

async fn unclaimed_auto_delete_queues_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.auto_delete(true), "auto_delete_queues").await
}

async fn unclaimed_consumer_priority_is_unsupported(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let started = connection.consumer(stage.queue("work")).priority(5).start().await;
    lacks(started, "consumer_priority")?;
    Ok(connection.close().await?)
}

async fn unclaimed_dead_letter_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(
        stage,
        |queue| queue.argument("x-dead-letter-exchange", "nowhere"),
        "dead_letter",
    )
    .await
}

async fn unclaimed_max_length_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, |queue| queue.max_length(5), "max_length").await
}

async fn unclaimed_delayed_delivery_is_unsupported(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    lacks(producer.publish(&1).to_queue(&queue).delay(SECOND).await, "delayed_delivery")?;
    assert_eq!(connection.size(queue.name()).await?, 0, "it came at once");
    Ok(connection.close().await?)
}

async fn unclaimed_quorum_queues_is_unsupported(stage: &Stage) -> Outcome {
    queue_is_refused(stage, kombu_core::Queue::quorum, "quorum_queues").await
}

async fn unclaimed_consumer_count_is_nought(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let _consumer = connection.consumer(&queue).start().await?;
    assert_eq!(connection.declare_queue(&queue).await?.consumers, 0, "a count that means nothing");
    Ok(connection.close().await?)
}

async fn unclaimed_delivery_count_is_absent(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = crate::cases::ack::filled(stage, &connection, 1).await?;
    let delivery = crate::wait::get(&connection.channel(), queue.name()).await?;
    assert_eq!(delivery.delivery_count(), None);
    delivery.ack().await?;
    Ok(connection.close().await?)
}

const SECOND: Duration = Duration::from_secs(1);
