//! How consumers end: cancelled, closed, dropped, or by the broker.

use kombu_core::{ErrorKind, Queue};

use crate::case::cases;
use crate::cases::ack::{filled, numbers};
use crate::failure::{Failure, Outcome};
use crate::stage::Stage;
use crate::wait::{self, hold, is_waiting, next, size_becomes, soon};

cases! {
    cancelled_consumer_hands_out_what_it_fetched [];
    cancelled_consumer_gets_nothing_new [];
    close_gives_back_what_was_fetched [];
    close_gives_back_in_order ["requeue_to_head"];
    deliveries_can_be_settled_after_close [];
    dropped_consumer_loses_nothing ["at_least_once"];
    dropped_consumer_leaves_held_deliveries_valid [];
    dropped_start_leaves_no_consumer ["consumer_count"];
    consumer_of_a_deleted_queue_subscribes_again ["cancel_notify", "mandatory"];
    consumer_of_a_deleted_passive_queue_ends ["cancel_notify"];
    consumers_end_with_their_connection [];
}

async fn cancelled_consumer_hands_out_what_it_fetched(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 10).await?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let first = next(&mut consumer).await?;
    size_becomes(&connection, queue.name(), 5).await?;
    soon("cancel", consumer.cancel()).await?;
    soon("a second cancel", consumer.cancel()).await?;
    let mut came = vec![first.decode::<u64>()?];
    first.ack().await?;
    while let Some(delivery) = soon("the end of the stream", consumer.next()).await? {
        let delivery = delivery?;
        came.push(delivery.decode()?);
        delivery.ack().await?;
    }
    assert_eq!(came, [0, 1, 2, 3, 4]);
    assert!(consumer.next().await.is_none(), "the end is for good");
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 5);
    Ok(connection.close().await?)
}

async fn cancelled_consumer_gets_nothing_new(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 0).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    consumer.cancel().await;
    // Were it still subscribed, this would be its message.
    let producer = connection.producer().await?;
    producer.publish(&40).to_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [40]);
    // Or the queue would be shared.
    let mut other = connection.consumer(&queue).start().await?;
    for id in 0..40 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    assert_eq!(wait::ids(&mut other, 40).await?, (0..40).collect::<Vec<_>>());
    assert!(soon("the end of the stream", consumer.next()).await?.is_none());
    consumer.close().await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn close_gives_back_what_was_fetched(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 10).await?;
    let mut consumer = connection.consumer(&queue).prefetch(6).start().await?;
    assert_eq!(wait::ids(&mut consumer, 2).await?, [0, 1]);
    soon("close", consumer.close()).await??;
    size_becomes(&connection, queue.name(), 8).await?;
    let mut ids = wait::get_ids(&connection.channel(), queue.name(), 8).await?;
    ids.sort_unstable();
    assert_eq!(ids, (2..10).collect::<Vec<_>>());
    Ok(connection.close().await?)
}

async fn close_gives_back_in_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 10).await?;
    for _ in 0..3 {
        let mut consumer = connection.consumer(&queue).prefetch(6).start().await?;
        size_becomes(&connection, queue.name(), 4).await?;
        let held = hold(&mut consumer, 2).await?;
        assert_eq!(numbers(&held)?, [0, 1]);
        for delivery in held.into_iter().rev() {
            delivery.requeue().await?;
        }
        soon("close", consumer.close()).await??;
        size_becomes(&connection, queue.name(), 10).await?;
    }
    let ids = wait::get_ids(&connection.channel(), queue.name(), 10).await?;
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    Ok(connection.close().await?)
}

async fn deliveries_can_be_settled_after_close(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let held = next(&mut consumer).await?;
    consumer.close().await?;
    size_becomes(&connection, queue.name(), 2).await?;
    held.ack_confirmed().await?;
    size_becomes(&connection, queue.name(), 2).await?;
    let mut ids = wait::get_ids(&connection.channel(), queue.name(), 2).await?;
    if !stage.can.requeue_to_head {
        ids.sort_unstable();
    }
    assert_eq!(ids, [1, 2]);
    Ok(connection.close().await?)
}

async fn dropped_consumer_loses_nothing(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 10).await?;
    for fetched in [0, 1, 3] {
        let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
        let held = hold(&mut consumer, fetched).await?;
        drop(consumer);
        drop(held);
        size_becomes(&connection, queue.name(), 10).await?;
    }
    let mut ids = wait::get_ids(&connection.channel(), queue.name(), 10).await?;
    if stage.can.requeue_to_head {
        assert_eq!(ids, (0..10).collect::<Vec<_>>(), "they come back in order");
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    Ok(connection.close().await?)
}

async fn dropped_consumer_leaves_held_deliveries_valid(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 2).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    drop(consumer);
    held.ack_confirmed().await?;
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}

async fn dropped_start_leaves_no_consumer(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 5).await?;
    for polls in 0..12 {
        let starting = connection.consumer(&queue).start();
        drop(super::concurrency::polled(polls, starting).await);
    }
    wait::eventually("no consumer to be left", async || {
        Ok(connection.declare_queue(&queue).await?.consumers == 0)
    })
    .await?;
    size_becomes(&connection, queue.name(), 5).await?;
    Ok(connection.close().await?)
}

async fn consumer_of_a_deleted_queue_subscribes_again(stage: &Stage) -> Outcome {
    let (connection, other) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = other.producer().await?.mandatory(true);
    for round in 0..3 {
        producer.publish(&round).to("", queue.name()).await?;
        assert_eq!(wait::ids(&mut consumer, 1).await?, [round]);
        other.delete_queue(queue.name()).await?;
        wait::eventually("the consumer's queue to be back", async || {
            // Polled, so that the consumer can notice.
            assert!(is_waiting(&mut consumer));
            match producer.publish(&(100 + round)).to("", queue.name()).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == ErrorKind::Unroutable => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        assert_eq!(wait::ids(&mut consumer, 1).await?, [100 + round]);
    }
    consumer.close().await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn consumer_of_a_deleted_passive_queue_ends(stage: &Stage) -> Outcome {
    let connection = stage.builder().operation_timeout(std::time::Duration::from_secs(2));
    let connection = connection.connect().await?;
    let other = stage.connect().await?;
    let queue = stage.queue("work");
    other.declare_queue(&queue).await?;
    let passive = Queue::new(queue.name()).passive(true);
    let mut consumer = connection.consumer(&passive).start().await?;
    other.delete_queue(queue.name()).await?;
    match soon("the end of the consumer", consumer.next()).await? {
        Some(Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
        Some(Ok(delivery)) => return Err(Failure::new(format_args!("{delivery:?} came"))),
        None => return Err(Failure::new("the stream ended without saying why")),
    }
    assert!(soon("the end of the stream", consumer.next()).await?.is_none());
    other.close().await?;
    Ok(connection.close().await?)
}

async fn consumers_end_with_their_connection(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 0).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let closing = connection.clone();
    let (next, closed) =
        soon("the end of the stream", async { tokio::join!(consumer.next(), closing.close()) })
            .await?;
    closed?;
    match next {
        None => Ok(()),
        Some(Err(error)) if error.kind() == ErrorKind::Closed => Ok(()),
        Some(other) => Err(Failure::new(format_args!("{other:?} came"))),
    }
}
