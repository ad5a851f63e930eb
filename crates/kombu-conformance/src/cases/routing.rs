//! Direct and fanout exchanges, bindings and unbinding.

use kombu_core::{Binding, Connection, ErrorKind, Exchange, Producer};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait;

cases! {
    direct_needs_an_equal_key ["direct"];
    direct_copies_to_every_bound_queue ["direct"];
    direct_gives_one_copy_however_often_it_matches ["direct"];
    direct_takes_an_empty_key ["direct"];
    unbound_queue_gets_nothing_more ["direct"];
    unbinding_the_missing_is_no_error ["direct"];
    rebinding_is_idempotent ["direct"];
    fanout_ignores_the_key ["fanout"];
    fanout_reaches_queues_of_other_connections ["fanout", "shared_bindings"];
    unroutable_goes_to_the_alternate_exchange ["direct", "fanout"];
    exchanges_are_apart ["direct"];
    delivery_says_where_it_was_published ["direct"];
}

/// What came to a queue: each message that waits there, in order.
pub(super) async fn arrived(connection: &Connection, queue: &str) -> Result<Vec<String>, Failure> {
    let count = connection.size(queue).await?;
    let channel = connection.channel();
    let mut bodies = Vec::new();
    for _ in 0..count {
        let delivery = wait::get(&channel, queue).await?;
        bodies.push(delivery.decode()?);
        delivery.ack().await?;
    }
    Ok(bodies)
}

/// Publishes each key as a body under that key.
pub(super) async fn publish_keys(
    producer: &Producer,
    exchange: &Exchange,
    keys: &[&str],
) -> Outcome {
    for key in keys {
        producer.publish(*key).to(exchange, *key).await?;
    }
    Ok(())
}

async fn direct_needs_an_equal_key(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "video");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let keys = ["video", "vide", "videos", "Video", "*", "#", "", "video "];
    publish_keys(&producer, &exchange, &keys).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["video"]);
    Ok(connection.close().await?)
}

async fn direct_copies_to_every_bound_queue(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queues = ["a", "b", "c"].map(|name| stage.queue(name).bind(&exchange, "key"));
    for queue in &queues {
        connection.declare_queue(queue).await?;
    }
    connection.producer().await?.publish("copy").to(&exchange, "key").await?;
    for queue in &queues {
        assert_eq!(arrived(&connection, queue.name()).await?, ["copy"], "{}", queue.name());
    }
    Ok(connection.close().await?)
}

async fn direct_gives_one_copy_however_often_it_matches(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let binding = Binding::new(&exchange, "a").argument("which", "second");
    let queue = stage.queue("work").bind(&exchange, "a").bind(&exchange, "b").binding(binding);
    connection.declare_queue(&queue).await?;
    publish_keys(&connection.producer().await?, &exchange, &["a", "b"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a", "b"]);
    Ok(connection.close().await?)
}

async fn direct_takes_an_empty_key(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "");
    connection.declare_queue(&queue).await?;
    publish_keys(&connection.producer().await?, &exchange, &["", "x"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, [""]);
    Ok(connection.close().await?)
}

async fn unbound_queue_gets_nothing_more(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "a").bind(&exchange, "b");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    publish_keys(&producer, &exchange, &["a", "b"]).await?;
    connection.channel().unbind_queue(queue.name(), &Binding::new(&exchange, "a")).await?;
    publish_keys(&producer, &exchange, &["a", "b"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a", "b", "b"]);
    connection.channel().bind_queue(queue.name(), &Binding::new(&exchange, "a")).await?;
    publish_keys(&producer, &exchange, &["a"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a"]);
    Ok(connection.close().await?)
}

async fn unbinding_the_missing_is_no_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "a");
    connection.declare_queue(&queue).await?;
    let missing = Binding::new(&exchange, "never bound");
    connection.channel().unbind_queue(queue.name(), &missing).await?;
    publish_keys(&connection.producer().await?, &exchange, &["a"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a"]);
    Ok(connection.close().await?)
}

async fn rebinding_is_idempotent(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "a");
    connection.declare_queue(&queue).await?;
    let binding = Binding::new(&exchange, "a");
    for _ in 0..3 {
        connection.channel().bind_queue(queue.name(), &binding).await?;
    }
    let producer = connection.producer().await?;
    publish_keys(&producer, &exchange, &["a"]).await?;
    assert_eq!(arrived(&connection, queue.name()).await?, ["a"]);
    // One binding made four times is one binding.
    connection.channel().unbind_queue(queue.name(), &binding).await?;
    publish_keys(&producer, &exchange, &["a"]).await?;
    assert!(arrived(&connection, queue.name()).await?.is_empty());
    Ok(connection.close().await?)
}

async fn fanout_ignores_the_key(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.fanout("news");
    let queues = [
        stage.queue("a").bind(&exchange, ""),
        stage.queue("b").bind(&exchange, "key"),
        stage.queue("c").bind(&exchange, "other"),
    ];
    for queue in &queues {
        connection.declare_queue(queue).await?;
    }
    publish_keys(&connection.producer().await?, &exchange, &["", "key", "none"]).await?;
    for queue in &queues {
        assert_eq!(arrived(&connection, queue.name()).await?, ["", "key", "none"]);
    }
    Ok(connection.close().await?)
}

async fn fanout_reaches_queues_of_other_connections(stage: &Stage) -> Outcome {
    let exchange = stage.fanout("news");
    let mut listeners = Vec::new();
    for name in ["a", "b"] {
        let connection = stage.connect().await?;
        let queue = stage.queue(name).bind(&exchange, "");
        let consumer = connection.consumer(&queue).start().await?;
        listeners.push((connection, consumer));
    }
    let publisher = stage.connect().await?;
    let producer = publisher.producer().await?;
    for id in 0..3 {
        producer.publish(&id).to(&exchange, "").await?;
    }
    for (connection, mut consumer) in listeners {
        assert_eq!(wait::ids(&mut consumer, 3).await?, [0, 1, 2]);
        consumer.close().await?;
        connection.close().await?;
    }
    Ok(publisher.close().await?)
}

async fn unroutable_goes_to_the_alternate_exchange(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let lost = stage.fanout("lost");
    let exchange = stage.direct("media").argument("alternate-exchange", lost.name());
    let (usual, found) = (stage.queue("usual"), stage.queue("found").bind(&lost, ""));
    connection.declare_queue(&found).await?;
    if let Err(error) = connection.declare_exchange(&exchange).await {
        refused(Err::<(), _>(error), &[ErrorKind::Unsupported])?;
        return Err(Failure::Ignored("alternate exchanges are refused".to_owned()));
    }
    connection.declare_queue(&usual.clone().bind(&exchange, "key")).await?;
    let producer = connection.producer().await?.mandatory(stage.can.mandatory);
    publish_keys(&producer, &exchange, &["key", "other"]).await?;
    assert_eq!(arrived(&connection, usual.name()).await?, ["key"]);
    assert_eq!(arrived(&connection, found.name()).await?, ["other"]);
    Ok(connection.close().await?)
}

async fn exchanges_are_apart(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let (one, two) = (stage.direct("one"), stage.direct("two"));
    let first = stage.queue("first").bind(&one, "key");
    let second = stage.queue("second").bind(&two, "key");
    connection.declare_queue(&first).await?;
    connection.declare_queue(&second).await?;
    let producer = connection.producer().await?;
    producer.publish("one").to(&one, "key").await?;
    producer.publish("two").to(&two, "key").await?;
    assert_eq!(arrived(&connection, first.name()).await?, ["one"]);
    assert_eq!(arrived(&connection, second.name()).await?, ["two"]);
    Ok(connection.close().await?)
}

async fn delivery_says_where_it_was_published(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    let mut consumer = connection.consumer(&queue).start().await?;
    connection.producer().await?.publish(&1).to(&exchange, "key").await?;
    let delivery = wait::next(&mut consumer).await?;
    assert_eq!(delivery.exchange(), exchange.name());
    assert_eq!(delivery.routing_key(), "key");
    assert_eq!(delivery.queue(), queue.name());
    assert!(!delivery.is_redelivered(), "a first delivery is marked redelivered");
    assert!(!delivery.consumer_tag().is_empty(), "no consumer tag");
    delivery.ack().await?;
    consumer.close().await?;
    Ok(connection.close().await?)
}
