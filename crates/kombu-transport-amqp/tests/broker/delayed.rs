//! Delayed delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kombu_core::transport::{BindQueue, Consume, DeleteExchange, DeleteQueue, Publish, RawChannel};
use kombu_core::{ErrorKind, Exchange, Queue};
use kombu_transport_amqp::delayed::{DelayedDelivery, LevelQueues, delayed_routing_key};

use crate::cases;
use crate::stage::{Case, Stage, consume, message, publish, take};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        delayed_messages_come_when_they_are_due,
        a_queue_of_direct_exchanges_is_refused,
        the_other_queue_type_is_refused,
    ]
}

async fn delayed_messages_come_when_they_are_due(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    for queue_type in [LevelQueues::Quorum, LevelQueues::Classic] {
        let name = stage.name(&format!("{queue_type:?}"));
        let delayed = DelayedDelivery::new().prefix(&name).queue_type(queue_type);
        delayed.declare(&*channel).await.unwrap();
        delayed.declare(&*channel).await.unwrap();
        let exchange = Exchange::topic(stage.name("x")).durable(false).auto_delete(true);
        channel.declare_exchange(&exchange).await.unwrap();
        let queue = Queue::new(stage.name("due")).exclusive(true).bind(&exchange, "video.new");
        channel.declare_queue(&queue).await.unwrap();
        let target = BindQueue::new(queue.name(), queue.bindings()[0].clone());
        channel.bind_queue(&target).await.unwrap();
        delayed.bind(&*channel, &queue).await.unwrap();

        let mut inbox = consume(&channel, queue.name(), &name, |_: &mut Consume| {}).await;
        let start = Instant::now();
        for seconds in [3, 1, 2] {
            let key = delayed_routing_key(Duration::from_secs(seconds), "video.new").unwrap();
            let later =
                Publish::new(delayed.publish_exchange(), &key, message(seconds.to_string()));
            publish(&channel, Arc::new(later)).await.unwrap();
        }
        let at_once = Publish::new(exchange.name(), "video.new", message("0"));
        publish(&channel, Arc::new(at_once)).await.unwrap();
        for due in 0..4 {
            let delivery = take(&mut inbox, 1).await.remove(0);
            assert_eq!(delivery.message.body, due.to_string(), "{queue_type:?}");
            assert!(delivery.routing_key.ends_with("video.new"));
            assert!(start.elapsed() >= Duration::from_secs(due), "{queue_type:?}: {due} too early");
        }
        channel.delete_queue(&DeleteQueue::new(queue.name())).await.unwrap();
        delete(&channel, &delayed, &name).await;
    }
    connection.close().await.unwrap();
}

async fn a_queue_of_direct_exchanges_is_refused(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = Queue::new("q").bind(Exchange::direct("x"), "k");
    let error = DelayedDelivery::new().bind(&*channel, &queue).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    connection.close().await.unwrap();
}

async fn the_other_queue_type_is_refused(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let name = stage.name("p");
    let delayed = DelayedDelivery::new().prefix(&name).queue_type(LevelQueues::Classic);
    delayed.declare(&*channel).await.unwrap();
    let other = connection.open_channel().await.unwrap();
    let quorum = delayed.clone().queue_type(LevelQueues::Quorum);
    let error = quorum.declare(&*other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error}");
    delete(&channel, &delayed, &name).await;
    connection.close().await.unwrap();
}

async fn delete(channel: &Arc<dyn RawChannel>, delayed: &DelayedDelivery, prefix: &str) {
    for level in 0..28 {
        let name = format!("{prefix}_celery_delayed_{level}");
        channel.delete_queue(&DeleteQueue::new(&name)).await.unwrap();
        channel.delete_exchange(&DeleteExchange::new(&name)).await.unwrap();
    }
    channel.delete_exchange(&DeleteExchange::new(delayed.delivery_exchange())).await.unwrap();
}
