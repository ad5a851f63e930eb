//! Deleting, purging and counting.

use kombu_core::transport::{DeleteExchange, DeleteQueue};
use kombu_core::{ErrorKind, Exchange, Queue};

use crate::case::cases;
use crate::failure::{Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, next, size_becomes};

cases! {
    delete_says_how_many_went [];
    deleting_the_missing_is_no_error [];
    delete_if_unused_spares_a_consumed_queue [];
    delete_if_empty_spares_a_full_queue [];
    delete_exchange_if_unused_spares_a_bound_one ["direct"];
    deleted_exchange_is_gone ["direct"];
    deleted_queue_gets_nothing_more ["direct", "mandatory"];
    queue_can_be_declared_again_after_delete [];
    purge_says_how_many_and_leaves_none [];
    purge_spares_the_unsettled [];
    size_counts_what_waits [];
}

async fn delete_says_how_many_went(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..4 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    assert_eq!(connection.delete_queue(queue.name()).await?, 4);
    refused(connection.size(queue.name()).await, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn deleting_the_missing_is_no_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    assert_eq!(connection.delete_queue(&stage.name("missing")).await?, 0);
    let channel = connection.channel();
    channel.delete_exchange(&DeleteExchange::new(stage.name("missing"))).await?;
    Ok(connection.close().await?)
}

async fn delete_if_unused_spares_a_consumed_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let consumer = connection.consumer(&queue).start().await?;
    let channel = connection.channel();
    let mut delete = DeleteQueue::new(queue.name());
    delete.if_unused = true;
    refused(channel.delete_queue_if(&delete).await, &[ErrorKind::PreconditionFailed])?;
    assert_eq!(connection.size(queue.name()).await?, 0, "it is gone");
    consumer.close().await?;
    wait::eventually("a deletion of the unused queue", async || {
        match channel.delete_queue_if(&delete).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    refused(connection.size(queue.name()).await, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn delete_if_empty_spares_a_full_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.producer().await?.publish(&1).to_queue(&queue).await?;
    let channel = connection.channel();
    let mut delete = DeleteQueue::new(queue.name());
    delete.if_empty = true;
    refused(channel.delete_queue_if(&delete).await, &[ErrorKind::PreconditionFailed])?;
    assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [1]);
    assert_eq!(channel.delete_queue_if(&delete).await?, 0);
    refused(connection.size(queue.name()).await, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn delete_exchange_if_unused_spares_a_bound_one(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    connection.declare_queue(&queue).await?;
    let channel = connection.channel();
    let mut delete = DeleteExchange::new(exchange.name());
    delete.if_unused = true;
    refused(channel.delete_exchange(&delete).await, &[ErrorKind::PreconditionFailed])?;
    let binding = queue.bindings().first().expect("it was bound a moment ago");
    channel.unbind_queue(queue.name(), binding).await?;
    channel.delete_exchange(&delete).await?;
    let passive = Exchange::direct(exchange.name()).passive(true);
    refused(channel.declare_exchange(&passive).await, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn deleted_exchange_is_gone(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    connection.declare_queue(&queue).await?;
    connection.channel().delete_exchange(&DeleteExchange::new(exchange.name())).await?;
    let producer = connection.producer().await?;
    let publish = producer.publish(&1).to(exchange.name(), "key").await;
    refused(publish, &[ErrorKind::NotFound])?;
    // Declared anew it has no bindings of old.
    producer.publish(&2).to(&exchange, "key").await?;
    assert_eq!(connection.size(queue.name()).await?, 0, "the binding outlived its exchange");
    Ok(connection.close().await?)
}

async fn deleted_queue_gets_nothing_more(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    connection.declare_queue(&queue).await?;
    connection.delete_queue(queue.name()).await?;
    let producer = connection.producer().await?;
    let publish = producer.publish(&1).to(&exchange, "key").mandatory(true).await;
    refused(publish, &[ErrorKind::Unroutable])?;
    // Nor when it is made again, without its binding.
    connection.declare_queue(&Queue::new(queue.name())).await?;
    let publish = producer.publish(&2).to(&exchange, "key").mandatory(true).await;
    refused(publish, &[ErrorKind::Unroutable])?;
    Ok(connection.close().await?)
}

async fn queue_can_be_declared_again_after_delete(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to_queue(&queue).await?;
        assert_eq!(connection.delete_queue(queue.name()).await?, 1, "round {id}");
    }
    Ok(connection.close().await?)
}

async fn purge_says_how_many_and_leaves_none(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..5 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    assert_eq!(connection.purge(queue.name()).await?, 5);
    assert_eq!(connection.purge(queue.name()).await?, 0);
    assert!(connection.get(queue.name()).await?.is_none(), "a purged message came");
    producer.publish(&9).to("", queue.name()).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [9]);
    Ok(connection.close().await?)
}

async fn purge_spares_the_unsettled(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    size_becomes(&connection, queue.name(), 2).await?;
    assert_eq!(connection.purge(queue.name()).await?, 2);
    held.requeue().await?;
    let again = next(&mut consumer).await?;
    assert_eq!(again.decode::<u64>()?, 0, "the held message is the one that is left");
    again.ack().await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn size_counts_what_waits(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to("", queue.name()).await?;
    }
    size_becomes(&connection, queue.name(), 3).await?;
    let channel = connection.channel();
    let held = wait::get(&channel, queue.name()).await?;
    size_becomes(&connection, queue.name(), 2).await?;
    held.requeue().await?;
    size_becomes(&connection, queue.name(), 3).await?;
    wait::get(&channel, queue.name()).await?.ack().await?;
    size_becomes(&connection, queue.name(), 2).await?;
    Ok(connection.close().await?)
}
