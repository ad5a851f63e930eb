//! Consumers: windows, sharing, priorities.

use std::collections::BTreeSet;

use futures_util::future::try_join;
use kombu_core::{Connection, ErrorKind, Queue};

use crate::case::cases;
use crate::cases::ack::{filled, numbers};
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, hold, is_waiting, next, size_becomes};

cases! {
    prefetch_bounds_the_unsettled [];
    prefetch_opens_with_each_settlement [];
    prefetch_of_nought_is_no_limit [];
    prefetch_is_each_queues_own [];
    no_ack_consumer_settles_by_delivery [];
    two_consumers_share_a_queue [];
    two_consumers_of_one_connection_share_a_queue [];
    idle_consumer_gets_what_a_busy_one_cannot_take [];
    consumer_of_several_queues_gets_from_all [];
    waiting_consumer_gets_new_messages [];
    consuming_a_missing_queue_is_not_found [];
    exclusive_consumer_is_the_only_one [];
    higher_consumer_priority_is_served_first ["consumer_priority"];
    consumers_need_a_queue [];
}

async fn prefetch_bounds_the_unsettled(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    for prefetch in [1_u16, 3] {
        let queue = filled(stage, &connection, 10).await?;
        let mut consumer = connection.consumer(&queue).prefetch(prefetch).start().await?;
        let held = hold(&mut consumer, prefetch.into()).await?;
        size_becomes(&connection, queue.name(), 10 - u64::from(prefetch)).await?;
        connection.ping().await?;
        assert!(is_waiting(&mut consumer), "more than {prefetch} came");
        drop(held);
        consumer.close().await?;
        connection.delete_queue(queue.name()).await?;
    }
    Ok(connection.close().await?)
}

async fn prefetch_opens_with_each_settlement(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 9).await?;
    let mut consumer = connection.consumer(&queue).prefetch(2).start().await?;
    let mut held = hold(&mut consumer, 2).await?;
    let second = held.pop().expect("two were held");
    second.ack().await?;
    held.push(next(&mut consumer).await?);
    let third = held.pop().expect("one was pushed");
    third.reject().await?;
    held.push(next(&mut consumer).await?);
    assert_eq!(numbers(&held)?, [0, 3]);
    size_becomes(&connection, queue.name(), 5).await?;
    connection.ping().await?;
    assert!(is_waiting(&mut consumer), "the window is full");
    held.pop().expect("two are held").ack_up_to().await?;
    assert_eq!(numbers(&hold(&mut consumer, 2).await?)?, [4, 5]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn prefetch_of_nought_is_no_limit(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 500).await?;
    let mut consumer = connection.consumer(&queue).prefetch(0).start().await?;
    let held = hold(&mut consumer, 500).await?;
    assert_eq!(numbers(&held)?, (0..500).collect::<Vec<_>>());
    for delivery in held {
        delivery.ack().await?;
    }
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn prefetch_is_each_queues_own(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (full, other) = (stage.queue("full"), stage.queue("other"));
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer([&full, &other]).prefetch(1).start().await?;
    for id in 0..2 {
        producer.publish(&id).to_queue(&full).await?;
    }
    let held = next(&mut consumer).await?;
    producer.publish(&7).to_queue(&other).await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [7], "a full window blocks the other queue");
    held.ack().await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [1]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn no_ack_consumer_settles_by_delivery(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 200).await?;
    let mut consumer = connection.consumer(&queue).prefetch(2).no_ack(true).start().await?;
    let held = hold(&mut consumer, 200).await?;
    assert_eq!(numbers(&held)?, (0..200).collect::<Vec<_>>());
    for delivery in held {
        delivery.ack().await?;
    }
    consumer.close().await?;
    connection.close().await?;
    let connection = stage.connect().await?;
    connection.declare_queue(&queue).await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

/// Two consumers whose window is one message must both be served, round after round.
async fn share(queue: &Queue, one: &Connection, two: &Connection) -> Outcome {
    let producer = one.producer().await?;
    let mut first = one.consumer(queue).prefetch(1).start().await?;
    let mut second = two.consumer(queue).prefetch(1).start().await?;
    let mut came = BTreeSet::new();
    for round in 0..10_u64 {
        producer.publish(&(2 * round)).to_queue(queue).await?;
        producer.publish(&(2 * round + 1)).to_queue(queue).await?;
        let (a, b) = try_join(next(&mut first), next(&mut second)).await?;
        came.extend([a.decode::<u64>()?, b.decode()?]);
        a.ack_confirmed().await?;
        b.ack_confirmed().await?;
    }
    assert_eq!(came, (0..20).collect());
    first.close().await?;
    second.close().await?;
    assert_eq!(one.size(queue.name()).await?, 0);
    Ok(())
}

async fn two_consumers_share_a_queue(stage: &Stage) -> Outcome {
    let (one, two) = (stage.connect().await?, stage.connect().await?);
    share(&stage.queue("work"), &one, &two).await?;
    two.close().await?;
    Ok(one.close().await?)
}

async fn two_consumers_of_one_connection_share_a_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    share(&stage.queue("work"), &connection, &connection).await?;
    Ok(connection.close().await?)
}

async fn idle_consumer_gets_what_a_busy_one_cannot_take(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 20).await?;
    let mut busy = connection.consumer(&queue).prefetch(5).start().await?;
    let held = hold(&mut busy, 5).await?;
    let mut idle = connection.consumer(&queue).prefetch(5).start().await?;
    assert_eq!(wait::ids(&mut idle, 15).await?, (5..20).collect::<Vec<_>>());
    for delivery in held {
        delivery.ack().await?;
    }
    busy.close().await?;
    idle.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn consumer_of_several_queues_gets_from_all(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queues = ["a", "b", "c"].map(|name| stage.queue(name));
    let mut consumer = connection.consumer(queues.clone()).prefetch(2).start().await?;
    assert_eq!(consumer.queues().len(), 3);
    let producer = connection.producer().await?;
    for round in 0..5_usize {
        for (index, queue) in queues.iter().enumerate() {
            producer.publish(&(round * 3 + index)).to_queue(queue).await?;
        }
    }
    let mut came = vec![Vec::new(); 3];
    for _ in 0..15 {
        let delivery = next(&mut consumer).await?;
        let id: usize = delivery.decode()?;
        assert_eq!(delivery.queue(), queues[id % 3].name(), "message {id}");
        came[id % 3].push(id / 3);
        delivery.ack().await?;
    }
    assert_eq!(came, vec![vec![0, 1, 2, 3, 4]; 3], "each queue keeps its order");
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn waiting_consumer_gets_new_messages(stage: &Stage) -> Outcome {
    let (connection, publisher) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = publisher.producer().await?;
    publisher.declare_queue(&queue).await?;
    for id in 0..10 {
        assert!(is_waiting(&mut consumer));
        producer.publish(&id).to("", queue.name()).await?;
        assert_eq!(wait::ids(&mut consumer, 1).await?, [id]);
    }
    consumer.close().await?;
    publisher.close().await?;
    Ok(connection.close().await?)
}

async fn consuming_a_missing_queue_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let missing = Queue::new(stage.name("missing"));
    for queue in [missing.clone().passive(true), missing.no_declare()] {
        let started = connection.consumer(&queue).start().await;
        let error = refused(started, &[ErrorKind::NotFound])?;
        assert!(error.to_string().contains(queue.name()), "it does not name the queue: {error}");
    }
    Ok(connection.close().await?)
}

async fn exclusive_consumer_is_the_only_one(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let mut only = connection.consumer(&queue).exclusive(true).start().await?;
    let second = connection.consumer(&queue).start().await;
    refused(second, &[ErrorKind::ResourceLocked])?;
    let second = connection.consumer(&queue).exclusive(true).start().await;
    refused(second, &[ErrorKind::ResourceLocked])?;
    assert_eq!(wait::ids(&mut only, 1).await?, [0]);
    only.close().await?;
    let free = connection.consumer(&queue).start().await?;
    let late = connection.consumer(&queue).exclusive(true).start().await;
    refused(late, &[ErrorKind::ResourceLocked])?;
    free.close().await?;
    Ok(connection.close().await?)
}

async fn higher_consumer_priority_is_served_first(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let mut low = connection.consumer(&queue).priority(-1).start().await?;
    let mut high = connection.consumer(&queue).priority(10).prefetch(10).start().await?;
    let mut usual = connection.consumer(&queue).start().await?;
    let producer = connection.producer().await?;
    for id in 0..10 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let held = hold(&mut high, 10).await?;
    // Its window is full: the next in rank are served.
    producer.publish(&10).to_queue(&queue).await?;
    assert_eq!(wait::ids(&mut usual, 1).await?, [10]);
    usual.close().await?;
    producer.publish(&11).to_queue(&queue).await?;
    assert_eq!(wait::ids(&mut low, 1).await?, [11]);
    for delivery in held {
        delivery.ack().await?;
    }
    high.close().await?;
    low.close().await?;
    Ok(connection.close().await?)
}

async fn consumers_need_a_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let started = connection.consumer(Vec::<Queue>::new()).start().await;
    refused(started, &[ErrorKind::InvalidArgument])?;
    let started = connection.consumer(stage.queue("work")).accept(["no-such"]).start().await;
    let error = refused(started, &[ErrorKind::InvalidArgument])?;
    if !error.to_string().contains("no-such") {
        return Err(Failure::new(format_args!("it does not name the serializer: {error}")));
    }
    Ok(connection.close().await?)
}
