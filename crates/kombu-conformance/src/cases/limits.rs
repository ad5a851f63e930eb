//! Priorities, expiry, bounded queues and dead letters.

use std::time::Duration;

use kombu_core::transport::PriorityOrder;
use kombu_core::{Connection, ErrorKind, Queue};

use crate::case::cases;
use crate::failure::{Failure, Outcome};
use crate::stage::Stage;
use crate::wait::{self, eventually_within, size_becomes};

cases! {
    priorities_order_a_queue ["priority"];
    equal_priorities_keep_their_order ["priority"];
    expired_message_does_not_come ["message_expiration"];
    unexpired_message_comes ["message_expiration"];
    queue_ttl_expires_messages ["queue_message_ttl"];
    unused_queue_expires ["queue_expires"];
    full_queue_drops_its_oldest ["max_length"];
    full_queue_can_refuse_instead ["max_length"];
    rejected_message_is_dead_lettered ["dead_letter", "direct"];
    expired_message_is_dead_lettered ["dead_letter", "direct", "message_expiration"];
    dropped_message_is_dead_lettered ["dead_letter", "direct", "max_length"];
    acknowledged_message_is_not_dead_lettered ["dead_letter", "direct"];
    quorum_queue_works ["quorum_queues"];
}

async fn priorities_order_a_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").max_priority(9);
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    // Kombu's Redis has these four steps.
    for priority in [3, 9, 0, 6] {
        producer.publish(&priority).to_queue(&queue).priority(priority).await?;
    }
    let expected = match stage.can.priority_order {
        PriorityOrder::HighFirst => [9, 6, 3, 0],
        PriorityOrder::LowFirst => [0, 3, 6, 9],
    };
    let channel = connection.channel();
    for priority in expected {
        let delivery = wait::get(&channel, queue.name()).await?;
        assert_eq!(delivery.decode::<u8>()?, priority);
        assert_eq!(delivery.properties().priority, priority);
        delivery.ack().await?;
    }
    Ok(connection.close().await?)
}

async fn equal_priorities_keep_their_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").max_priority(9);
    let producer = connection.producer().await?;
    for id in 0..12_u8 {
        let priority = if id % 2 == 0 { 9 } else { 0 };
        producer.publish(&id).to_queue(&queue).priority(priority).await?;
    }
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let ids = wait::ids(&mut consumer, 12).await?;
    // The first may have been fetched before the last was published; the rest is in order.
    let of = |parity| ids.iter().copied().filter(|id| id % 2 == parity).collect::<Vec<_>>();
    assert_eq!(of(0), [0, 2, 4, 6, 8, 10]);
    assert_eq!(of(1), [1, 3, 5, 7, 9, 11]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn expired_message_does_not_come(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let soon = Duration::from_millis(50);
    producer.publish(&1).to_queue(&queue).expires(soon).await?;
    size_becomes(&connection, queue.name(), 0).await?;
    producer.publish(&2).to_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [2]);
    Ok(connection.close().await?)
}

async fn unexpired_message_comes(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    producer.publish(&1).to_queue(&queue).expires(Duration::from_secs(600)).await?;
    let delivery = wait::get(&connection.channel(), queue.name()).await?;
    assert_eq!(delivery.properties().expiration.as_deref(), Some("600000"));
    delivery.ack().await?;
    Ok(connection.close().await?)
}

async fn queue_ttl_expires_messages(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").message_ttl(Duration::from_millis(50));
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    size_becomes(&connection, queue.name(), 0).await?;
    assert!(connection.get(queue.name()).await?.is_none());
    Ok(connection.close().await?)
}

async fn unused_queue_expires(stage: &Stage) -> Outcome {
    let (connection, other) = (stage.connect().await?, stage.connect().await?);
    let life = Duration::from_millis(200);
    let used = stage.queue("used").expires(life);
    let unused = stage.queue("unused").expires(life);
    let consumer = connection.consumer(&used).start().await?;
    other.declare_queue(&unused).await?;
    let is_gone = async |queue: &Queue| match other.size(queue.name()).await {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Failure::from(error)),
    };
    // Asking for it is a use, so the pauses between two questions are longer than its life.
    let pause = 3 * life;
    let what = "the unused queue to expire";
    eventually_within(wait::SOON, pause, what, async || is_gone(&unused).await).await?;
    assert!(!is_gone(&used).await?, "a queue with a consumer is in use");
    consumer.close().await?;
    let what = "the queue to expire after its use";
    eventually_within(wait::SOON, pause, what, async || is_gone(&used).await).await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn full_queue_drops_its_oldest(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").max_length(3);
    let producer = connection.producer().await?;
    for id in 0..6 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    assert_eq!(connection.size(queue.name()).await?, 3);
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 3).await?, [3, 4, 5]);
    Ok(connection.close().await?)
}

async fn full_queue_can_refuse_instead(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").max_length(2).argument("x-overflow", "reject-publish");
    if let Err(error) = connection.declare_queue(&queue).await {
        crate::failure::refused(Err::<(), _>(error), &[ErrorKind::Unsupported])?;
        return Err(Failure::Ignored("x-overflow is refused".to_owned()));
    }
    let producer = connection.producer().await?;
    for id in 0..2 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let publish = producer.publish(&2).to_queue(&queue).await;
    crate::failure::refused(publish, &[ErrorKind::Nacked])?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 2).await?, [0, 1]);
    producer.publish(&3).to_queue(&queue).await?;
    Ok(connection.close().await?)
}

/// A queue whose dead letters go to another one.
async fn with_dead_letters(
    stage: &Stage,
    connection: &Connection,
) -> Result<(Queue, Queue), Failure> {
    let morgue = stage.direct("morgue");
    let dead = stage.queue("dead").bind(&morgue, "was here");
    connection.declare_queue(&dead).await?;
    let queue = stage
        .queue("work")
        .argument("x-dead-letter-exchange", morgue.name())
        .argument("x-dead-letter-routing-key", "was here");
    Ok((queue, dead))
}

/// Checks that one message of that number died.
async fn is_dead(connection: &Connection, dead: &Queue, id: u64) -> Outcome {
    let delivery = wait::get(&connection.channel(), dead.name()).await?;
    assert_eq!(delivery.decode::<u64>()?, id);
    assert_eq!(delivery.routing_key(), "was here");
    assert_eq!(delivery.headers().get("trace").and_then(kombu_core::Value::as_str), Some("abc"));
    delivery.ack().await?;
    assert_eq!(connection.size(dead.name()).await?, 0);
    Ok(())
}

async fn rejected_message_is_dead_lettered(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (queue, dead) = with_dead_letters(stage, &connection).await?;
    let producer = connection.producer().await?;
    producer.publish(&1).to_queue(&queue).header("trace", "abc").await?;
    wait::get(&connection.channel(), queue.name()).await?.reject().await?;
    is_dead(&connection, &dead, 1).await?;
    Ok(connection.close().await?)
}

async fn expired_message_is_dead_lettered(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (queue, dead) = with_dead_letters(stage, &connection).await?;
    let producer = connection.producer().await?;
    let soon = Duration::from_millis(50);
    producer.publish(&1).to_queue(&queue).header("trace", "abc").expires(soon).await?;
    is_dead(&connection, &dead, 1).await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn dropped_message_is_dead_lettered(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (queue, dead) = with_dead_letters(stage, &connection).await?;
    let queue = queue.max_length(2);
    let producer = connection.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to_queue(&queue).header("trace", "abc").await?;
    }
    is_dead(&connection, &dead, 0).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 2).await?, [1, 2]);
    Ok(connection.close().await?)
}

async fn acknowledged_message_is_not_dead_lettered(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (queue, dead) = with_dead_letters(stage, &connection).await?;
    let producer = connection.producer().await?;
    for id in 0..2 {
        producer.publish(&id).to_queue(&queue).header("trace", "abc").await?;
    }
    let channel = connection.channel();
    wait::get(&channel, queue.name()).await?.ack_confirmed().await?;
    wait::get(&channel, queue.name()).await?.requeue().await?;
    let again = wait::get(&channel, queue.name()).await?;
    assert_eq!(connection.size(dead.name()).await?, 0);
    // A fence: what is rejected last arrives first if nothing else did.
    again.reject().await?;
    is_dead(&connection, &dead, 1).await?;
    Ok(connection.close().await?)
}

async fn quorum_queue_works(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work").quorum();
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer(&queue).prefetch(2).start().await?;
    for id in 0..5 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let held = wait::hold(&mut consumer, 2).await?;
    size_becomes(&connection, queue.name(), 3).await?;
    for delivery in held {
        delivery.ack().await?;
    }
    assert_eq!(wait::ids(&mut consumer, 3).await?, [2, 3, 4]);
    consumer.close().await?;
    Ok(connection.close().await?)
}
