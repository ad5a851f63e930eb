//! Publishing: confirms, returns, refusals.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kombu_core::transport::{DeleteQueue, Publish, RawChannel};
use kombu_core::{
    Binding, DeliveryMode, ErrorKind, Exchange, Message, Properties, Queue, Scope, Table, Value,
};

use crate::cases;
use crate::stage::{
    Case, Stage, consume, counts, get, message, publish, soon, take, to_queue, until,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        publishes_keep_their_order,
        properties_of_every_type_come_back,
        mandatory_publishes_in_flight_are_told_apart,
        a_full_queue_refuses,
        a_missing_exchange_is_not_found_and_the_next_publish_goes_on,
        the_culprit_among_many_is_found,
        publish_channels_do_not_run_out,
        unconfirmed_publishes_arrive,
        direct_replies_come,
        closing_awaits_what_is_in_flight,
        a_large_body_is_split_into_frames,
        lapin_publishes_with_small_frames,
    ]
}

const DRIVERS: [&str; 2] = ["auto", "lapin"];

/// A channel of a connection that publishes with a driver. The connection lives with the case.
async fn channel_of(stage: &Stage, driver: &str) -> Arc<dyn RawChannel> {
    let connection = stage.connect_with(&[("driver", driver)]).await;
    connection.open_channel().await.expect("channel")
}

async fn publishes_keep_their_order(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        let mut confirms = Vec::new();
        for number in 0..2_000 {
            let publish = to_queue(&queue, message(number.to_string()));
            confirms.push(channel.publish(publish).await.unwrap());
        }
        for confirm in soon(join_all(confirms)).await {
            confirm.unwrap();
        }
        let mut inbox = consume(&channel, &queue, "c", |consume| consume.no_ack = true).await;
        for (number, delivery) in take(&mut inbox, 2_000).await.into_iter().enumerate() {
            assert_eq!(delivery.message.body, number.to_string(), "{driver}");
        }
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn properties_of_every_type_come_back(stage: Stage) {
    let headers = Table::new()
        .with("null", Value::Null)
        .with("bool", true)
        .with("small", -5)
        .with("large", 5_000_000_000_i64)
        .with("least", i64::MIN)
        .with("float", 0.1)
        .with("decimal", Value::Decimal("-1.20".to_owned()))
        .with("text", "grüße")
        .with("empty", "")
        .with("bytes", bytes::Bytes::from_static(b"\xff\xfe\x00"))
        .with("time", Value::Timestamp(1_700_000_000))
        .with("list", vec![Value::Int(1), Value::List(vec![]), Value::Table(Table::new())])
        .with("table", Table::new().with("x", Table::new().with("y", 1.5)));
    let mut properties = Properties::new();
    properties.content_type = Some("application/json".into());
    properties.content_encoding = Some("utf-8".into());
    properties.headers = headers;
    properties.delivery_mode = DeliveryMode::Transient;
    properties.priority = 7;
    properties.correlation_id = Some("c".to_owned());
    properties.reply_to = Some("r".to_owned());
    properties.expiration = Some("60000".to_owned());
    properties.message_id = Some("m".to_owned());
    properties.timestamp = Some(1_700_000_000);
    properties.kind = Some("t".to_owned());
    properties.user_id = Some("guest".to_owned());
    properties.app_id = Some("a".to_owned());
    properties.cluster_id = Some("x".to_owned());
    let sent = Message::new("body", properties);
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        publish(&channel, to_queue(&queue, sent.clone())).await.unwrap();
        assert_eq!(get(&channel, &queue).await.message, sent, "{driver}");
        // A returned message must not cost the link that reads it.
        let mut unroutable = Publish::new("", stage.name("nowhere"), sent.clone());
        unroutable.mandatory = true;
        let error = publish(&channel, Arc::new(unroutable)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unroutable, "{driver}: {error}");
        publish(&channel, to_queue(&queue, message("after"))).await.unwrap();
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn mandatory_publishes_in_flight_are_told_apart(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        let nowhere = stage.name("nowhere");
        let mut confirms = Vec::new();
        for number in 0..300_u32 {
            let routed = number % 3 != 0;
            let key = if routed { &queue } else { &nowhere };
            let mut publish = Publish::new("", key, message((number / 3).to_string()));
            publish.mandatory = number % 2 == 0;
            let expected = (!routed && publish.mandatory).then_some(ErrorKind::Unroutable);
            confirms.push((expected, channel.publish(Arc::new(publish)).await.unwrap()));
        }
        for (number, (expected, confirm)) in confirms.into_iter().enumerate() {
            let kind = soon(confirm).await.err().map(|error| error.kind());
            assert_eq!(kind, expected, "{driver}: publish {number}");
        }
        assert_eq!(counts(&channel, &queue).await.0, 200, "{driver}");
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn a_full_queue_refuses(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = Queue::new(stage.name("full"))
            .exclusive(true)
            .max_length(2)
            .argument("x-overflow", "reject-publish");
        channel.declare_queue(&queue).await.unwrap();
        for _ in 0..2 {
            publish(&channel, to_queue(queue.name(), message("x"))).await.unwrap();
        }
        let error = publish(&channel, to_queue(queue.name(), message("x"))).await.unwrap_err();
        assert_eq!((error.kind(), error.scope()), (ErrorKind::Nacked, Scope::Local), "{error}");
        assert!(error.is_recoverable());
        channel.delete_queue(&DeleteQueue::new(queue.name())).await.unwrap();
    }
}

async fn a_missing_exchange_is_not_found_and_the_next_publish_goes_on(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        let missing = stage.name("missing");
        for round in 0..20 {
            let lost = Arc::new(Publish::new(&missing, "k", message("x")));
            let error = publish(&channel, lost).await.unwrap_err();
            assert_eq!((error.kind(), error.scope()), (ErrorKind::NotFound, Scope::Local));
            assert!(error.to_string().contains(&missing), "{error}");
            publish(&channel, to_queue(&queue, message(round.to_string()))).await.unwrap();
        }
        assert_eq!(counts(&channel, &queue).await.0, 20);
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn the_culprit_among_many_is_found(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        // The broker's reply names no exchange: which of those in flight it means is not said.
        let mut properties = Properties::new();
        properties.expiration = Some("soon".to_owned());
        let wrong = to_queue(&queue, Message::new("wrong", properties));
        let mut waiting: Vec<_> =
            (0..10).map(|number: u32| to_queue(&queue, message(number.to_string()))).collect();
        waiting.insert(5, Arc::clone(&wrong));
        let mut refused = Vec::new();
        // As the core does: what may work the next time is tried again.
        for _round in 0..5 {
            let mut confirms = Vec::new();
            for publish in waiting.drain(..) {
                let confirm = channel.publish(Arc::clone(&publish)).await.unwrap();
                confirms.push((publish, confirm));
            }
            for (publish, confirm) in confirms {
                match soon(confirm).await {
                    Ok(()) => {}
                    Err(error) if error.is_recoverable() => waiting.push(publish),
                    Err(error) => refused.push((publish.message.body.clone(), error.kind())),
                }
            }
        }
        assert!(waiting.is_empty(), "{driver}: {} are left", waiting.len());
        assert_eq!(refused, [("wrong".into(), ErrorKind::PreconditionFailed)], "{driver}");
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn publish_channels_do_not_run_out(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let missing = stage.name("missing");
        for _ in 0..2_500 {
            let lost = Arc::new(Publish::new(&missing, "k", message("x")));
            let error = publish(&channel, lost).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{driver}: {error}");
        }
        let queue = stage.queue(&channel).await;
        publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn unconfirmed_publishes_arrive(stage: Stage) {
    for driver in DRIVERS {
        let options = [("confirm_publish", "false"), ("driver", driver)];
        let connection = stage.connect_with(&options).await;
        let channel = connection.open_channel().await.unwrap();
        let queue = stage.queue(&channel).await;
        for number in 0..100 {
            let publish = to_queue(&queue, message(number.to_string()));
            channel.publish(publish).await.unwrap().await.unwrap();
        }
        let mut unroutable = Publish::new("", stage.name("nowhere"), message("x"));
        unroutable.mandatory = true;
        let error = publish(&channel, Arc::new(unroutable)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unroutable);
        until("all are there", async || counts(&channel, &queue).await.0 == 100).await;
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn direct_replies_come(stage: Stage) {
    let (connection, client) = stage.channel().await;
    let server = connection.open_channel().await.unwrap();
    let queue = stage.queue(&server).await;
    let mut requests = consume(&server, &queue, "s", |_| {}).await;
    let mut replies =
        consume(&client, "amq.rabbitmq.reply-to", "c", |consume| consume.no_ack = true).await;
    for number in 0..10 {
        let mut properties = Properties::new();
        properties.reply_to = Some("amq.rabbitmq.reply-to".to_owned());
        properties.correlation_id = Some(number.to_string());
        publish(&client, to_queue(&queue, Message::new("question", properties))).await.unwrap();
        let request = take(&mut requests, 1).await.remove(0);
        let to = request.message.properties.reply_to.clone().expect("the broker's name for it");
        let mut properties = Properties::new();
        properties.correlation_id = request.message.properties.correlation_id.clone();
        publish(&server, to_queue(&to, Message::new("answer", properties))).await.unwrap();
        let reply = take(&mut replies, 1).await.remove(0);
        assert_eq!(reply.message.properties.correlation_id, Some(number.to_string()));
    }
    connection.close().await.unwrap();
}

async fn closing_awaits_what_is_in_flight(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let other = channel_of(&stage, driver).await;
        let queue = Queue::new(stage.name("kept")).durable(false).auto_delete(true);
        other.declare_queue(&queue).await.unwrap();
        let mut confirms = Vec::new();
        for _ in 0..1_000 {
            confirms.push(channel.publish(to_queue(queue.name(), message("x"))).await.unwrap());
        }
        soon(channel.close()).await.unwrap();
        for confirm in confirms {
            soon(confirm).await.unwrap();
        }
        assert_eq!(counts(&other, queue.name()).await.0, 1_000);
        other.delete_queue(&DeleteQueue::new(queue.name())).await.unwrap();
    }
}

async fn a_large_body_is_split_into_frames(stage: Stage) {
    for driver in DRIVERS {
        let channel = channel_of(&stage, driver).await;
        let queue = stage.queue(&channel).await;
        for size in [0, 1, 131_063, 131_064, 131_065, 1_000_000] {
            let body: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
            publish(&channel, to_queue(&queue, message(body.clone()))).await.unwrap();
            assert!(get(&channel, &queue).await.message.body == body, "{driver}: {size}");
        }
        channel.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    }
}

async fn lapin_publishes_with_small_frames(stage: Stage) {
    let options = [("frame_max", "4096"), ("channel_max", "10"), ("connect_timeout", "10")];
    let connection = stage.connect_with(&options).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message(vec![1; 50_000]))).await.unwrap();
    assert_eq!(get(&channel, &queue).await.message.body.len(), 50_000);
    let exchange = Exchange::fanout(stage.name("x")).durable(false).auto_delete(true);
    channel.declare_exchange(&exchange).await.unwrap();
    let binding = Binding::new(&exchange, "");
    let bind = kombu_core::transport::BindQueue::new(&queue, binding);
    channel.bind_queue(&bind).await.unwrap();
    publish(&channel, Arc::new(Publish::new(exchange.name(), "", message("f")))).await.unwrap();
    assert_eq!(get(&channel, &queue).await.exchange, exchange.name());
    let mut channels = Vec::new();
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(5), connection.open_channel()).await {
            Ok(Ok(channel)) => channels.push(channel),
            Ok(Err(error)) => break error,
            Err(_elapsed) => panic!("no answer"),
        }
    };
    assert_eq!(channels.len(), 9);
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    connection.close().await.unwrap();
}
