//! Messages for a later time.

use std::time::{Duration, SystemTime};

use kombu_core::{Connection, ErrorKind, Producer, Publication, Queue};
use tokio::time::Instant;

use crate::case::cases;
use crate::failure::{Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, next_within};

cases! {
    delayed_message_comes_when_it_is_due ["delayed_delivery"];
    delayed_messages_overtake_each_other ["delayed_delivery"];
    delayed_message_goes_by_its_routing_key ["delayed_delivery", "direct"];
    delayed_message_goes_by_its_topic ["delayed_delivery", "topic"];
    delayed_message_goes_to_all ["delayed_delivery", "fanout"];
    delayed_message_can_be_delayed_again ["delayed_delivery"];
    a_time_that_is_past_is_now ["delayed_delivery"];
    delaying_to_a_missing_exchange_is_not_found ["delayed_delivery"];
    delayed_message_outlives_its_publisher ["delayed_delivery"];
}

async fn delayed_message_comes_when_it_is_due(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = connection.producer().await?;
    // What a broker needs for its first delay is not to count.
    producer.publish(&0).to_queue(&queue).delay(SHORT).await?;
    let begun = Instant::now();
    let later = producer.publish(&1).to_queue(&queue).priority(3).header("trace", "abc");
    later.delay(DELAY).await?;
    let first = next_within(LATEST, &mut consumer).await?;
    assert_eq!(first.decode::<u8>()?, 0);
    first.ack().await?;
    let delivery = next_within(LATEST, &mut consumer).await?;
    assert!(begun.elapsed() >= DELAY, "it came after {:?}", begun.elapsed());
    assert_eq!(delivery.decode::<u8>()?, 1);
    assert_eq!((delivery.exchange(), delivery.routing_key()), ("", queue.name()));
    assert!(!delivery.is_redelivered());
    assert_eq!(delivery.properties().priority, 3);
    assert_eq!(delivery.properties().expiration, None);
    assert_eq!(delivery.headers().get("trace").and_then(|value| value.as_str()), Some("abc"));
    delivery.ack().await?;
    wait::size_becomes(&connection, queue.name(), 0).await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn delayed_messages_overtake_each_other(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = connection.producer().await?;
    producer.publish(&0).to_queue(&queue).delay(SHORT).await?;
    for (id, seconds) in [(3, 3), (1, 1), (2, 2)] {
        producer.publish(&id).to_queue(&queue).delay(Duration::from_secs(seconds)).await?;
    }
    producer.publish(&9).to_queue(&queue).await?;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let delivery = next_within(LATEST, &mut consumer).await?;
        ids.push(delivery.decode::<u8>()?);
        delivery.ack().await?;
    }
    // How late the first two are is a matter of what the broker had to do for the first delay.
    ids.retain(|id| (1..=3).contains(id));
    assert_eq!(ids, [1, 2, 3]);
    consumer.close().await?;
    Ok(connection.close().await?)
}

/// Publishes for later, and checks that it comes as it would at once, and only where it should.
async fn comes_as_at_once(
    connection: &Connection,
    publication: impl FnOnce(&Producer) -> Publication,
    (exchange, key): (&str, &str),
    (bound, others): (&[Queue], &[Queue]),
) -> Outcome {
    for queue in bound.iter().chain(others) {
        connection.declare_queue(queue).await?;
    }
    let producer = connection.producer().await?;
    publication(&producer).delay(SHORT).await?;
    for queue in bound {
        let mut consumer = connection.consumer(queue).start().await?;
        let delivery = next_within(LATEST, &mut consumer).await?;
        assert_eq!((delivery.exchange(), delivery.routing_key()), (exchange, key));
        delivery.ack().await?;
        consumer.close().await?;
    }
    for queue in others {
        assert_eq!(connection.size(queue.name()).await?, 0, "{:?} is not for it", queue.name());
    }
    Ok(())
}

async fn delayed_message_goes_by_its_routing_key(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (media, other) = (stage.direct("media"), stage.direct("other"));
    let bound = [stage.queue("bound").bind(&media, "a.b")];
    let others =
        [stage.queue("key").bind(&media, "b"), stage.queue("exchange").bind(&other, "a.b")];
    let publication = |producer: &Producer| producer.publish(&1).to(&media, "a.b");
    comes_as_at_once(&connection, publication, (media.name(), "a.b"), (&bound, &others)).await?;
    Ok(connection.close().await?)
}

async fn delayed_message_goes_by_its_topic(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let media = stage.exchange("media", kombu_core::ExchangeType::Topic);
    let bound =
        [stage.queue("star").bind(&media, "video.*"), stage.queue("hash").bind(&media, "#")];
    let others = [stage.queue("other").bind(&media, "audio.*")];
    let publication = |producer: &Producer| producer.publish(&1).to(&media, "video.hd");
    comes_as_at_once(&connection, publication, (media.name(), "video.hd"), (&bound, &others))
        .await?;
    Ok(connection.close().await?)
}

async fn delayed_message_goes_to_all(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let news = stage.fanout("news");
    let bound = [stage.queue("one").bind(&news, ""), stage.queue("two").bind(&news, "")];
    let publication = |producer: &Producer| producer.publish(&1).to(&news, "");
    comes_as_at_once(&connection, publication, (news.name(), ""), (&bound, &[])).await?;
    Ok(connection.close().await?)
}

async fn delayed_message_can_be_delayed_again(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = connection.producer().await?;
    producer.publish(&1).to_queue(&queue).delay(SHORT).await?;
    for _ in 0..2 {
        let delivery = next_within(LATEST, &mut consumer).await?;
        let message = delivery.message().clone();
        producer.publish_message(message).to_queue(&queue).delay(SHORT).await?;
        delivery.ack().await?;
    }
    next_within(LATEST, &mut consumer).await?.ack().await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn a_time_that_is_past_is_now(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let past = SystemTime::now() - Duration::from_secs(3600);
    producer.publish(&1).to_queue(&queue).at(past).await?;
    producer.publish(&2).to_queue(&queue).delay(Duration::ZERO).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 2).await?, [1, 2]);
    let begun = Instant::now();
    producer.publish(&3).to_queue(&queue).at(SystemTime::now() + SHORT).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    next_within(LATEST, &mut consumer).await?.ack().await?;
    assert!(begun.elapsed() + Duration::from_millis(5) >= SHORT, "it came too early");
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn delaying_to_a_missing_exchange_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let producer = connection.producer().await?;
    let missing = stage.name("missing");
    let publish = producer.publish(&1).to(missing, "key").delay(DELAY).await;
    refused(publish, &[ErrorKind::NotFound])?;
    Ok(connection.close().await?)
}

async fn delayed_message_outlives_its_publisher(stage: &Stage) -> Outcome {
    let (connection, other) = (stage.connect().await?, stage.connect().await?);
    let queue = stage.queue("work");
    connection.producer().await?.publish(&1).to_queue(&queue).delay(SHORT).await?;
    connection.close().await?;
    let mut consumer = other.consumer(&queue).start().await?;
    next_within(LATEST, &mut consumer).await?.ack().await?;
    consumer.close().await?;
    Ok(other.close().await?)
}

/// RabbitMQ counts whole seconds.
const SHORT: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_secs(2);
/// How late anything may be.
const LATEST: Duration = Duration::from_secs(15);
