//! Publishing: order, confirms, what cannot be routed, and declaring on the way.

use std::time::Duration;

use futures_util::future::try_join_all;
use kombu_core::{ErrorKind, Exchange, Queue};

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, soon};

cases! {
    publishes_keep_their_order [];
    confirm_means_stored [];
    mandatory_unroutable_is_an_error ["direct", "mandatory"];
    mandatory_routable_arrives ["direct", "mandatory"];
    unroutable_is_no_error_unless_asked_for ["direct"];
    publish_to_missing_exchange_is_not_found [];
    batch_keeps_its_order [];
    batch_answers_for_each ["direct", "mandatory"];
    submitted_publishes_are_confirmed_later [];
    many_tasks_publish_at_once [];
    publish_declares_what_it_needs ["direct"];
    publish_notices_changed_declarations ["direct", "fanout"];
    producer_defaults_apply ["direct"];
    unencodable_body_is_an_error [];
    oversized_message_is_refused [];
}

async fn publishes_keep_their_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    for id in 0..20_u64 {
        producer.publish(&id).to_queue(&queue).await?;
    }
    let mut confirms = Vec::new();
    for id in 20..100_u64 {
        confirms.push(producer.publish(&id).to_queue(&queue).submit().await?);
    }
    soon("the confirms", try_join_all(confirms)).await??;
    let mut consumer = connection.consumer(&queue).start().await?;
    let expected: Vec<u64> = (0..100).collect();
    assert_eq!(wait::ids(&mut consumer, 100).await?, expected);
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn confirm_means_stored(stage: &Stage) -> Outcome {
    let queue = stage.queue("work");
    for id in 0..5_u64 {
        let publisher = stage.connect().await?;
        publisher.producer().await?.publish(&id).to_queue(&queue).await?;
        // Without a close: whatever was confirmed is no longer the publisher's matter.
        drop(publisher);
    }
    let connection = stage.connect().await?;
    connection.declare_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 5).await?, [0, 1, 2, 3, 4]);
    Ok(connection.close().await?)
}

async fn mandatory_unroutable_is_an_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let producer = connection.producer().await?;
    let publish = producer.publish(&1).to(&exchange, "nowhere").mandatory(true).await;
    let error = refused(publish, &[ErrorKind::Unroutable])?;
    assert!(error.to_string().contains("nowhere"), "it does not name the key: {error}");
    // The producer goes on.
    let queue = stage.queue("work").bind(&exchange, "somewhere");
    connection.declare_queue(&queue).await?;
    producer.publish(&2).to(&exchange, "somewhere").mandatory(true).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [2]);
    Ok(connection.close().await?)
}

async fn mandatory_routable_arrives(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?.mandatory(true);
    producer.publish(&1).to(&exchange, "key").await?;
    producer.publish(&2).to_queue(&queue).await?;
    refused(producer.publish(&3).to(&exchange, "no").await, &[ErrorKind::Unroutable])?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 2).await?, [1, 2]);
    Ok(connection.close().await?)
}

async fn unroutable_is_no_error_unless_asked_for(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let producer = connection.producer().await?;
    producer.publish(&1).to(&exchange, "nowhere").await?;
    Ok(connection.close().await?)
}

async fn publish_to_missing_exchange_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let missing = stage.name("missing");
    let producer = connection.producer().await?;
    for round in 0..3 {
        let publish = producer.publish(&1).to(missing.as_str(), "key").await;
        let error = refused(publish, &[ErrorKind::NotFound])?;
        assert!(error.to_string().contains(&missing), "it does not name the exchange: {error}");
        let queue = stage.queue("work");
        producer.publish(&round).to_queue(&queue).await?;
    }
    Ok(connection.close().await?)
}

async fn batch_keeps_its_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let batch = (0..250_u64).map(|id| producer.publish(&id).to_queue(&queue));
    let results = soon("a batch of 250", producer.publish_batch(batch)).await?;
    assert_eq!(results.len(), 250);
    results.into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(wait::ids(&mut consumer, 250).await?, (0..250).collect::<Vec<_>>());
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn batch_answers_for_each(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "yes");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?.mandatory(true);
    let keys = ["yes", "no", "yes", "no", "yes"];
    let batch = keys.map(|key| producer.publish(key).to(&exchange, key));
    let results = producer.publish_batch(batch).await;
    for (key, result) in keys.iter().zip(results) {
        match *key {
            "yes" => result?,
            _ => drop(refused(result, &[ErrorKind::Unroutable])?),
        }
    }
    assert_eq!(connection.size(queue.name()).await?, 3);
    Ok(connection.close().await?)
}

async fn submitted_publishes_are_confirmed_later(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    // More than any window, with nobody awaiting a confirm meanwhile.
    let submitting = async {
        let mut confirms = Vec::new();
        for id in 0..3000_u64 {
            confirms.push(producer.publish(&id).to_queue(&queue).submit().await?);
        }
        Ok::<_, Failure>(confirms)
    };
    let confirms = soon("3000 submitted publishes", submitting).await??;
    soon("their confirms", try_join_all(confirms)).await??;
    wait::size_becomes(&connection, queue.name(), 3000).await?;
    Ok(connection.close().await?)
}

async fn many_tasks_publish_at_once(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let tasks = (0..8_u64).map(|task| {
        let (producer, queue) = (producer.clone(), queue.clone());
        tokio::spawn(async move {
            for n in 0..50 {
                producer.publish(&(task * 1000 + n)).to_queue(&queue).await?;
            }
            Ok::<_, kombu_core::Error>(())
        })
    });
    for done in soon("8 tasks with 50 publishes each", try_join_all(tasks)).await?? {
        done?;
    }
    let mut consumer = connection.consumer(&queue).start().await?;
    let ids = wait::ids(&mut consumer, 400).await?;
    for task in 0..8 {
        let own: Vec<u64> = ids.iter().copied().filter(|id| id / 1000 == task).collect();
        let expected: Vec<u64> = (0..50).map(|n| task * 1000 + n).collect();
        assert_eq!(own, expected, "the messages of task {task}");
    }
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn publish_declares_what_it_needs(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    let producer = connection.producer().await?;
    producer.publish(&1).to(&exchange, "key").declare(&queue).await?;
    producer.publish(&2).to_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 2).await?, [1, 2]);
    // A queue that was deleted meanwhile is declared again.
    connection.delete_queue(queue.name()).await?;
    producer.publish(&3).to(&exchange, "key").declare(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [3]);
    Ok(connection.close().await?)
}

async fn publish_notices_changed_declarations(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let producer = connection.producer().await?;
    producer.publish(&1).to(&exchange, "key").await?;
    producer.publish(&2).to(&exchange, "key").await?;
    let other = Exchange::fanout(exchange.name());
    let publish = producer.publish(&3).to(&other, "key").await;
    refused(publish, &[ErrorKind::PreconditionFailed])?;
    producer.publish(&4).to(&exchange, "key").await?;
    Ok(connection.close().await?)
}

async fn producer_defaults_apply(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "usual").bind(&exchange, "other");
    connection.declare_queue(&queue).await?;
    let producer = connection
        .producer()
        .await?
        .exchange(&exchange)
        .routing_key("usual")
        .serializer("json")
        .timeout(Duration::from_secs(10));
    producer.publish("a text").await?;
    producer.publish("a text").routing_key("other").await?;
    let channel = connection.channel();
    for key in ["usual", "other"] {
        let delivery = wait::get(&channel, queue.name()).await?;
        assert_eq!(delivery.routing_key(), key);
        let content_type = delivery.properties().content_type.as_deref();
        assert_eq!(content_type, Some("application/json"));
        assert_eq!(delivery.decode::<String>()?, "a text");
        delivery.ack().await?;
    }
    Ok(connection.close().await?)
}

async fn unencodable_body_is_an_error(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let unknown = producer.clone().serializer("no such serializer");
    let error = unknown.publish(&1).to_queue(&queue).await;
    let error = refused(error, &[ErrorKind::Encode, ErrorKind::InvalidArgument])?;
    assert!(error.to_string().contains("no such serializer"), "{error}");
    producer.publish(&1).to_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}

async fn oversized_message_is_refused(stage: &Stage) -> Outcome {
    let Some(limit) = stage.can.max_message_bytes else {
        return Err(Failure::Ignored("messages have no limit here".to_owned()));
    };
    let Ok(limit @ ..=67_108_864) = usize::try_from(limit) else {
        return Err(Failure::Ignored(format!("the limit of {limit} bytes is out of reach")));
    };
    let connection = stage.connect().await?;
    let queue: Queue = stage.queue("work");
    let producer = connection.producer().await?;
    let body = vec![b'x'; limit + 1];
    let publish = producer.publish_raw(body, "application/data", "binary").to_queue(&queue);
    let kinds = [ErrorKind::InvalidArgument, ErrorKind::PreconditionFailed];
    refused(publish.await, &kinds)?;
    producer.publish(&1).to_queue(&queue).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}
