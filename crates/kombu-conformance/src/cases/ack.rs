//! Settling: acknowledging, rejecting, giving back.

use kombu_core::{Connection, Delivery, ErrorKind, Outcome as Settlement, Queue};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, hold, next, size_becomes};

cases! {
    acknowledged_message_is_done_with [];
    rejected_message_is_dropped [];
    requeued_message_comes_again [];
    requeued_message_comes_back_first ["requeue_to_head"];
    requeued_messages_keep_their_order ["requeue_to_head"];
    requeued_message_stays_in_its_queue ["fanout"];
    requeued_message_is_marked_redelivered ["redelivered"];
    deliveries_are_counted ["quorum_queues", "delivery_count"];
    acknowledging_up_to_covers_all_before [];
    rejecting_up_to_covers_all_before [];
    recover_gives_all_back [];
    settling_twice_is_an_error [];
    confirmed_acknowledgement_is_known_to_the_broker [];
    unsettled_messages_outlive_their_consumer ["at_least_once"];
    settling_after_close_is_an_error [];
}

/// A queue with the messages 0 to `count` in it.
pub(super) async fn filled(
    stage: &Stage,
    connection: &Connection,
    count: u64,
) -> Result<Queue, Failure> {
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let batch = (0..count).map(|id| producer.publish(&id).to_queue(&queue));
    producer.publish_batch(batch).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(queue)
}

/// What held deliveries say.
pub(super) fn numbers(held: &[Delivery]) -> Result<Vec<u64>, Failure> {
    Ok(held.iter().map(Delivery::decode).collect::<Result<_, _>>()?)
}

async fn acknowledged_message_is_done_with(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(wait::ids(&mut consumer, 3).await?, [0, 1, 2]);
    consumer.close().await?;
    connection.close().await?;
    let connection = stage.connect().await?;
    connection.declare_queue(&queue).await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    assert!(connection.get(queue.name()).await?.is_none(), "an acknowledged message came again");
    Ok(connection.close().await?)
}

async fn rejected_message_is_dropped(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 2).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    next(&mut consumer).await?.reject().await?;
    next(&mut consumer).await?.ack().await?;
    consumer.close().await?;
    assert!(connection.get(queue.name()).await?.is_none(), "a rejected message came again");
    Ok(connection.close().await?)
}

async fn requeued_message_comes_again(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let held = hold(&mut consumer, 3).await?;
    for delivery in held {
        delivery.requeue().await?;
    }
    let mut again = wait::ids(&mut consumer, 3).await?;
    again.sort_unstable();
    assert_eq!(again, [0, 1, 2]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn requeued_message_comes_back_first(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 4).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [0]);
    for _ in 0..3 {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.decode::<u64>()?, 1, "the requeued message is next");
        delivery.requeue().await?;
    }
    assert_eq!(wait::ids(&mut consumer, 3).await?, [1, 2, 3]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn requeued_messages_keep_their_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 6).await?;
    let mut consumer = connection.consumer(&queue).prefetch(3).start().await?;
    let held = hold(&mut consumer, 3).await?;
    assert_eq!(numbers(&held)?, [0, 1, 2]);
    consumer.cancel().await;
    // In whichever order they are given back: the queue knows where each one was.
    for delivery in held.into_iter().rev() {
        delivery.requeue().await?;
    }
    consumer.close().await?;
    size_becomes(&connection, queue.name(), 6).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 6).await?, [0, 1, 2, 3, 4, 5]);
    Ok(connection.close().await?)
}

async fn requeued_message_stays_in_its_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.fanout("news");
    let one = stage.queue("one").bind(&exchange, "");
    let two = stage.queue("two").bind(&exchange, "");
    connection.declare_queue(&one).await?;
    connection.declare_queue(&two).await?;
    connection.producer().await?.publish(&1).to(&exchange, "").await?;
    let channel = connection.channel();
    wait::get(&channel, one.name()).await?.requeue().await?;
    let again = wait::get(&channel, one.name()).await?;
    assert_eq!(connection.size(two.name()).await?, 1, "the other queue has its one copy");
    again.ack().await?;
    Ok(connection.close().await?)
}

async fn requeued_message_is_marked_redelivered(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let first = next(&mut consumer).await?;
    assert!(!first.is_redelivered(), "the first delivery is marked");
    first.requeue().await?;
    let second = next(&mut consumer).await?;
    assert!(second.is_redelivered(), "the second delivery is not marked");
    second.ack().await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn deliveries_are_counted(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").quorum();
    connection.producer().await?.publish(&1).to_queue(&queue).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for before in 0..3 {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.delivery_count().unwrap_or(0), before);
        delivery.requeue().await?;
    }
    next(&mut consumer).await?.ack().await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn acknowledging_up_to_covers_all_before(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 5).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut held = hold(&mut consumer, 5).await?;
    let last = held.split_off(4);
    let fourth = held.pop().expect("five were held");
    fourth.ack_up_to().await?;
    for delivery in held {
        refused(delivery.ack().await, &[ErrorKind::MessageState])?;
    }
    for delivery in last {
        delivery.requeue().await?;
    }
    let left = next(&mut consumer).await?;
    assert_eq!(left.decode::<u64>()?, 4);
    left.ack().await?;
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn rejecting_up_to_covers_all_before(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let held = hold(&mut consumer, 3).await?;
    held[1].acker().settle_up_to(Settlement::Requeue)?;
    let mut again = numbers(&hold(&mut consumer, 2).await?)?;
    again.sort_unstable();
    assert_eq!(again, [0, 1]);
    held[2].acker().settle(Settlement::Ack)?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn recover_gives_all_back(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let channel = connection.channel();
    let held = [
        wait::get(&channel, queue.name()).await?,
        wait::get(&channel, queue.name()).await?,
        wait::get(&channel, queue.name()).await?,
    ];
    size_becomes(&connection, queue.name(), 0).await?;
    channel.recover().await?;
    size_becomes(&connection, queue.name(), 3).await?;
    for delivery in held {
        let kinds = [ErrorKind::MessageState, ErrorKind::StaleDelivery];
        refused(delivery.ack().await, &kinds)?;
    }
    let mut ids = wait::get_ids(&channel, queue.name(), 3).await?;
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2]);
    Ok(connection.close().await?)
}

async fn settling_twice_is_an_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for first in [Settlement::Ack, Settlement::Reject, Settlement::Ack] {
        let delivery = next(&mut consumer).await?;
        let acker = delivery.acker();
        acker.settle(first)?;
        let state = [ErrorKind::MessageState];
        refused(acker.settle(Settlement::Ack), &state)?;
        refused(acker.settle(Settlement::Requeue), &state)?;
        refused(acker.settle_up_to(Settlement::Ack), &state)?;
        refused(delivery.reject().await, &state)?;
    }
    // The consumer is unharmed.
    connection.producer().await?.publish(&7).to_queue(&queue).await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [7]);
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn confirmed_acknowledgement_is_known_to_the_broker(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 2).await?;
    let channel = connection.channel();
    wait::get(&channel, queue.name()).await?.ack_confirmed().await?;
    let held = wait::get(&channel, queue.name()).await?;
    held.acker().settle_confirmed(Settlement::Requeue).await?;
    channel.close().await?;
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}

async fn unsettled_messages_outlive_their_consumer(stage: &Stage) -> Outcome {
    let first = stage.connect().await?;
    let queue = filled(stage, &first, 5).await?;
    let mut consumer = first.consumer(&queue).prefetch(3).start().await?;
    let held = hold(&mut consumer, 3).await?;
    first.close().await?;
    drop((held, consumer));
    let second = stage.connect().await?;
    second.declare_queue(&queue).await?;
    size_becomes(&second, queue.name(), 5).await?;
    let mut consumer = second.consumer(&queue).start().await?;
    let held = hold(&mut consumer, 5).await?;
    let mut ids = numbers(&held)?;
    if stage.can.requeue_to_head {
        assert_eq!(ids, [0, 1, 2, 3, 4], "they come back in order");
    }
    ids.sort_unstable();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    if stage.can.redelivered {
        let marked = held.iter().filter(|delivery| delivery.is_redelivered()).count();
        assert_eq!(marked, 3, "those that were delivered before are marked, and no others");
    }
    for delivery in held {
        delivery.ack().await?;
    }
    consumer.close().await?;
    Ok(second.close().await?)
}

async fn settling_after_close_is_an_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let channel = connection.channel();
    let held = wait::get(&channel, queue.name()).await?;
    channel.close().await?;
    refused(held.ack().await, &[ErrorKind::StaleDelivery, ErrorKind::Closed])?;
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [0]);
    Ok(connection.close().await?)
}
