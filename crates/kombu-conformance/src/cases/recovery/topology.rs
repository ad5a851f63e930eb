//! What was declared is there again on the next link, and windows are as they were.

use std::collections::BTreeSet;
use std::time::Duration;

use kombu_core::{Binding, Connection, ErrorKind, Exchange, Queue};
use tokio::sync::{oneshot, watch};

use super::{BACK, until_down, until_up};
use crate::address;
use crate::case::cases;
use crate::cases::ack::filled;
use crate::failure::{Failure, Outcome};
use crate::proxy::Proxy;
use crate::stage::Stage;
use crate::wait::{self, hold, is_waiting, next_within, size_becomes, within};

cases! {
    prefetch_is_the_same_on_the_next_link ["tcp", "at_least_once"];
    what_was_fetched_comes_again_in_order ["tcp", "at_least_once", "requeue_to_head"];
    exclusive_queue_is_made_again ["tcp", "exclusive_queues", "fanout", "mandatory"];
    server_named_queue_is_made_again ["tcp", "exclusive_queues", "fanout", "mandatory"];
    deleted_entities_are_made_again ["tcp", "direct", "mandatory"];
    removed_entities_are_not_made_again ["tcp", "direct"];
    consumer_of_several_queues_is_whole_again ["tcp", "at_least_once"];
    handlers_go_on_over_a_cut ["tcp", "at_least_once"];
    held_messages_of_others_are_untouched ["tcp", "at_least_once"];
    exclusive_consumer_outlives_its_own_ghost ["tcp", "at_least_once", "heartbeats"];
}

/// Cuts the link and waits for the next one.
async fn cut(proxy: &Proxy, connection: &Connection) -> Outcome {
    proxy.refuse().await;
    until_down(connection).await?;
    proxy.restore().await;
    until_up(connection).await
}

async fn prefetch_is_the_same_on_the_next_link(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let queue = filled(stage, &other, 20).await?;
    let mut consumer = connection.consumer(&queue).prefetch(4).start().await?;
    let held = hold(&mut consumer, 4).await?;
    for _ in 0..3 {
        cut(&proxy, &connection).await?;
        let mut again = Vec::new();
        for _ in 0..4 {
            again.push(next_within(BACK, &mut consumer).await?);
        }
        size_becomes(&other, queue.name(), 16).await?;
        connection.ping().await?;
        assert!(is_waiting(&mut consumer), "the window is wider on the next link");
    }
    drop(held);
    consumer.close().await?;
    connection.close().await?;
    size_becomes(&other, queue.name(), 20).await?;
    Ok(other.close().await?)
}

async fn what_was_fetched_comes_again_in_order(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let queue = filled(stage, &connection, 30).await?;
    let mut consumer = connection.consumer(&queue).prefetch(10).start().await?;
    // Some are acknowledged, some held, some fetched and not handed out.
    assert_eq!(wait::ids(&mut consumer, 4).await?, [0, 1, 2, 3]);
    connection.ping().await?;
    let _held = hold(&mut consumer, 3).await?;
    cut(&proxy, &connection).await?;
    let mut came = Vec::new();
    while came.last() != Some(&29) {
        let delivery = next_within(BACK, &mut consumer).await?;
        came.push(delivery.decode::<u64>()?);
        delivery.ack().await?;
    }
    // An acknowledgement that was under way may be lost with the link, and its message comes again.
    let first = came[0];
    assert!(first <= 4, "{first} came first, so some are lost: {came:?}");
    assert_eq!(came, (first..30).collect::<Vec<_>>());
    consumer.close().await?;
    Ok(connection.close().await?)
}

/// Publishes until a message finds a queue: when it is bound again is the consumer's matter.
async fn publish_until_routed(connection: &Connection, exchange: &Exchange) -> Outcome {
    let producer = connection.producer().await?.mandatory(true);
    let pause = Duration::from_millis(20);
    wait::eventually_within(BACK, pause, "the queue to be bound again", async || {
        match producer.publish(&1).to(exchange.name(), "key").await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Unroutable => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
    .await
}

async fn exclusive_queue_is_made_again(stage: &Stage) -> Outcome {
    let exchange = stage.fanout("news").durable(false);
    let queue = stage.queue("own").durable(false).exclusive(true).bind(&exchange, "");
    own_queue_comes_back(stage, &exchange, &queue).await
}

async fn server_named_queue_is_made_again(stage: &Stage) -> Outcome {
    let exchange = stage.fanout("news").durable(false);
    let queue = Queue::new("").durable(false).exclusive(true).bind(&exchange, "");
    own_queue_comes_back(stage, &exchange, &queue).await
}

async fn own_queue_comes_back(stage: &Stage, exchange: &Exchange, queue: &Queue) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let mut consumer = connection.consumer(queue).start().await?;
    other.declare_exchange(exchange).await?;
    for _ in 0..3 {
        publish_until_routed(&other, exchange).await?;
        next_within(BACK, &mut consumer).await?.ack().await?;
        cut(&proxy, &connection).await?;
    }
    publish_until_routed(&other, exchange).await?;
    next_within(BACK, &mut consumer).await?.ack().await?;
    assert_eq!(consumer.queues().len(), 1);
    consumer.close().await?;
    connection.close().await?;
    Ok(other.close().await?)
}

async fn deleted_entities_are_made_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    connection.declare_queue(&queue).await?;
    let extra = Binding::new(&exchange, "extra");
    connection.channel().bind_queue(queue.name(), &extra).await?;
    proxy.refuse().await;
    until_down(&connection).await?;
    // As a broker that comes back without what was not durable.
    let channel = other.channel();
    channel.delete_queue(queue.name()).await?;
    let delete = kombu_core::transport::DeleteExchange::new(exchange.name());
    channel.delete_exchange(&delete).await?;
    proxy.restore().await;
    until_up(&connection).await?;
    let producer = connection.producer().await?.mandatory(true);
    for key in ["key", "extra"] {
        // By name, so that publishing declares nothing.
        producer.publish(&1).to(exchange.name(), key).await?;
    }
    assert_eq!(wait::get_ids(&channel, queue.name(), 2).await?, [1, 1]);
    connection.close().await?;
    Ok(other.close().await?)
}

async fn removed_entities_are_not_made_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let exchange = stage.direct("media");
    let (gone, kept) = (stage.queue("gone"), stage.queue("kept"));
    connection.declare_queue(&gone.clone().bind(&exchange, "key")).await?;
    connection.declare_queue(&kept).await?;
    let binding = Binding::new(&exchange, "key");
    let channel = connection.channel();
    channel.bind_queue(kept.name(), &binding).await?;
    channel.unbind_queue(kept.name(), &binding).await?;
    channel.delete_queue(gone.name()).await?;
    cut(&proxy, &connection).await?;
    connection.ping().await?;
    match connection.size(gone.name()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return Err(Failure::new(format_args!("the deleted queue is back: {other:?}"))),
    }
    connection.producer().await?.publish(&1).to(exchange.name(), "key").await?;
    assert_eq!(connection.size(kept.name()).await?, 0, "the binding is back");
    Ok(connection.close().await?)
}

async fn consumer_of_several_queues_is_whole_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let queues = ["a", "b", "c"].map(|name| stage.queue(name));
    let mut consumer = connection.consumer(queues.clone()).prefetch(1).start().await?;
    let producer = other.producer().await?;
    for _ in 0..2 {
        cut(&proxy, &connection).await?;
        for (id, queue) in queues.iter().enumerate() {
            producer.publish(&id).to_queue(queue).await?;
        }
        let mut came = Vec::new();
        for _ in 0..3 {
            let delivery = next_within(BACK, &mut consumer).await?;
            assert_eq!(delivery.queue(), queues[delivery.decode::<usize>()?].name());
            came.push(delivery.decode::<usize>()?);
            delivery.ack_confirmed().await?;
        }
        came.sort_unstable();
        assert_eq!(came, [0, 1, 2]);
    }
    consumer.close().await?;
    connection.close().await?;
    Ok(other.close().await?)
}

async fn handlers_go_on_over_a_cut(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let queue = filled(stage, &other, 200).await?;
    let consumer = connection.consumer(&queue).prefetch(10).start().await?;
    let (handled, mut seen) = watch::channel(BTreeSet::new());
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let working = consumer.run(4, stopped, move |delivery| {
        let handled = handled.clone();
        async move {
            let id: u64 = delivery.decode()?;
            // Before the acknowledgement, whose confirmation may be lost when it was done.
            handled.send_if_modified(|ids| ids.insert(id));
            delivery.ack_confirmed().await
        }
    });
    let cutting = async {
        for count in [50, 100, 150] {
            let enough = |ids: &BTreeSet<u64>| ids.len() >= count;
            within(BACK, "messages to be handled", seen.wait_for(enough)).await??;
            proxy.cut();
        }
        let all = |ids: &BTreeSet<u64>| ids.len() == 200;
        within(BACK, "all messages to be handled", seen.wait_for(all)).await??;
        size_becomes(&other, queue.name(), 0).await?;
        // Whoever is at the last ones ends in good order.
        drop(stop);
        Outcome::Ok(())
    };
    let (ended, cut) = tokio::join!(working, cutting);
    cut?;
    ended?;
    connection.close().await?;
    // Some may be here once more, since their acknowledgements did not arrive before a cut.
    while let Some(again) = other.get(queue.name()).await? {
        again.ack_confirmed().await?;
    }
    Ok(other.close().await?)
}

async fn held_messages_of_others_are_untouched(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let other = stage.connect().await?;
    let queue = filled(stage, &other, 4).await?;
    let mut safe = other.consumer(&queue).prefetch(2).start().await?;
    let held = hold(&mut safe, 2).await?;
    let mut cut_off = connection.consumer(&queue).prefetch(2).start().await?;
    let lost = hold(&mut cut_off, 2).await?;
    cut(&proxy, &connection).await?;
    drop(lost);
    for _ in 0..2 {
        let again = next_within(BACK, &mut cut_off).await?;
        assert!(again.decode::<u64>()? >= 2, "a message that another one holds came");
        again.ack_confirmed().await?;
    }
    for delivery in held {
        delivery.ack_confirmed().await?;
    }
    assert_eq!(other.size(queue.name()).await?, 0);
    safe.close().await?;
    cut_off.close().await?;
    connection.close().await?;
    Ok(other.close().await?)
}

async fn exclusive_consumer_outlives_its_own_ghost(stage: &Stage) -> Outcome {
    let (proxy, first) = stage.proxy().await?;
    let urls = [first.as_str(), stage.url()].map(|url| address::with_option(url, "heartbeat=1"));
    let connection =
        stage.builder_for(urls.join(";")).connect_timeout(Duration::from_secs(1)).connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let mut consumer = connection.consumer(&queue).exclusive(true).start().await?;
    wait::next(&mut consumer).await?.ack_confirmed().await?;
    connection.ping().await?;
    // The broker does not notice for a while, and has an exclusive consumer all that time.
    proxy.freeze();
    until_down(&connection).await?;
    until_up(&connection).await?;
    let other = stage.connect().await?;
    other.producer().await?.publish(&1).to("", queue.name()).await?;
    let delivery = next_within(BACK, &mut consumer).await?;
    assert_eq!(delivery.decode::<u64>()?, 1);
    delivery.ack().await?;
    consumer.close().await?;
    connection.close().await?;
    Ok(other.close().await?)
}
