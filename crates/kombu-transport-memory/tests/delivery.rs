//! Publishing, consuming and settling on the interface of transports.

mod support;

use std::sync::Arc;

use kombu_core::transport::{DeleteQueue, DeliveryTag, Get, Publish, Settle};
use kombu_core::{ErrorKind, Options, Outcome, Properties, Queue};
use support::*;

#[tokio::test]
async fn messages_come_in_order_and_are_settled_once() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut inbox = consume(&*channel, "q", 0).await;
    for number in 0..100 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let deliveries = receive(&mut inbox, 100).await;
    assert_eq!(bodies(&deliveries), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(deliveries.iter().map(|delivery| delivery.tag.0).eq(1..=100));
    assert_eq!(deliveries[0].routing_key, "q");
    ack(&*channel, deliveries[3].tag).await;
    let twice = channel.settle(Settle::one(deliveries[3].tag, Outcome::Ack)).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::MessageState);
    channel.settle(Settle::up_to(DeliveryTag(100), Outcome::Ack)).unwrap().await.unwrap();
    let info = channel.declare_queue(&Queue::new("q").passive(true)).await.unwrap();
    assert_eq!((info.messages, info.consumers), (0, 1));
}

#[tokio::test]
async fn prefetch_bounds_the_unsettled() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for number in 0..10 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let mut inbox = consume(&*channel, "q", 3).await;
    let first = receive(&mut inbox, 3).await;
    let waiting = channel.declare_queue(&Queue::new("q")).await.unwrap().messages;
    assert_eq!(waiting, 7);
    ack(&*channel, first[1].tag).await;
    assert_eq!(bodies(&receive(&mut inbox, 1).await), ["3"]);
}

#[tokio::test]
async fn a_large_window_opens_without_a_flush() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for number in 0..101 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let mut inbox = consume(&*channel, "q", 100).await;
    let deliveries = receive(&mut inbox, 100).await;
    ack(&*channel, deliveries[0].tag).await;
    assert_eq!(bodies(&receive(&mut inbox, 1).await), ["100"]);
}

#[tokio::test]
async fn two_consumers_share_a_queue_on_one_channel_and_on_two() {
    let broker = Broker::new();
    let publisher = broker.channel().await;
    publisher.declare_queue(&Queue::new("q")).await.unwrap();
    let other = broker.channel().await;
    let mut one = consume(&*publisher, "q", 0).await;
    let mut two = consume(&*other, "q", 0).await;
    // Both wait before the first message comes.
    until(async || publisher.declare_queue(&Queue::new("q")).await.unwrap().consumers == 2).await;
    tokio::task::yield_now().await;
    let (mut of_one, mut of_two) = (0, 0);
    for round in 0.. {
        assert!(round < 1000, "one consumer took everything: {of_one} and {of_two}");
        for _ in 0..10 {
            publish(&*publisher, "", "q", "x").await.unwrap();
        }
        let mut seen = 0;
        while seen < 10 {
            let (batch, count) = tokio::select! {
                batch = one.next() => (batch, &mut of_one),
                batch = two.next() => (batch, &mut of_two),
            };
            let batch = batch.unwrap();
            seen += batch.len();
            *count += batch.len();
        }
        if of_one > 0 && of_two > 0 {
            break;
        }
    }
}

#[tokio::test]
async fn requeued_messages_come_back_first_in_order_and_marked() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for number in 0..5 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(get(&*channel, "q").await.unwrap());
    }
    channel.settle(Settle::up_to(held[2].tag, Outcome::Requeue)).unwrap().await.unwrap();
    let mut again = Vec::new();
    while let Some(delivery) = get(&*channel, "q").await {
        again.push(delivery);
    }
    assert_eq!(bodies(&again), ["0", "1", "2", "3", "4"]);
    let marked: Vec<_> = again.iter().map(|d| (d.redelivered, d.delivery_count)).collect();
    assert_eq!(marked[2], (true, Some(1)));
    assert_eq!(marked[3], (false, Some(0)));
}

#[tokio::test]
async fn closing_gives_back_what_is_held_at_once() {
    let broker = Broker::new();
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for number in 0..4 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let holder = broker.connect().await;
    let held = holder.open_channel().await.unwrap();
    let mut inbox = consume(&*held, "q", 2).await;
    let deliveries = receive(&mut inbox, 2).await;
    held.close().await.unwrap();
    held.close().await.unwrap();
    let stale = held.settle(Settle::one(deliveries[0].tag, Outcome::Ack)).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StaleDelivery);
    assert_eq!(soon(held.lost()).await.kind(), ErrorKind::Closed);
    let first = get(&*channel, "q").await.unwrap();
    assert_eq!((body(&first).as_str(), first.redelivered), ("0", true));
    let other = holder.open_channel().await.unwrap();
    get(&*other, "q").await.unwrap();
    holder.close().await.unwrap();
    assert_eq!(soon(holder.lost()).await.kind(), ErrorKind::Closed);
    assert_eq!(body(&get(&*channel, "q").await.unwrap()), "1");
}

#[tokio::test]
async fn dropped_handles_give_back_what_they_held() {
    let broker = Broker::new();
    let watcher = broker.channel().await;
    watcher.declare_queue(&Queue::new("q")).await.unwrap();
    publish(&*watcher, "", "q", "x").await.unwrap();
    {
        let channel = broker.channel().await;
        get(&*channel, "q").await.unwrap();
    }
    until(async || watcher.declare_queue(&Queue::new("q")).await.unwrap().messages == 1).await;
}

#[test]
fn a_runtime_that_dies_gives_back_what_it_held() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let broker = Broker::new();
    let dying = runtime();
    let channel = dying.block_on(async {
        let channel = broker.channel().await;
        channel.declare_queue(&Queue::new("q")).await.unwrap();
        publish(&*channel, "", "q", "x").await.unwrap();
        publish(&*channel, "", "q", "y").await.unwrap();
        let mut inbox = consume(&*channel, "q", 1).await;
        receive(&mut inbox, 1).await;
        channel
    });
    drop(dying);
    drop(channel);
    runtime().block_on(async {
        let channel = broker.channel().await;
        assert_eq!(body(&get(&*channel, "q").await.unwrap()), "x");
        assert_eq!(channel.declare_queue(&Queue::new("q")).await.unwrap().consumers, 0);
    });
}

#[tokio::test]
async fn nothing_enters_the_sink_after_cancel_and_what_was_held_can_be_settled() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut inbox = consume(&*channel, "q", 0).await;
    publish(&*channel, "", "q", "0").await.unwrap();
    let held = receive(&mut inbox, 1).await;
    let tag = held[0].consumer.clone();
    channel.cancel(&tag).await.unwrap();
    channel.cancel(&tag).await.unwrap();
    publish(&*channel, "", "q", "1").await.unwrap();
    let next = get(&*channel, "q").await.unwrap();
    assert_eq!((body(&next).as_str(), next.redelivered), ("1", false));
    ack(&*channel, held[0].tag).await;
    assert!(soon(inbox.next()).await.is_none());
}

#[tokio::test]
async fn a_dropped_inbox_loses_nothing() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    drop(consume(&*channel, "q", 0).await);
    for number in 0..10 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    until(async || {
        let info = channel.declare_queue(&Queue::new("q")).await.unwrap();
        (info.messages, info.consumers) == (10, 0)
    })
    .await;
    let first = get(&*channel, "q").await.unwrap();
    assert_eq!((body(&first).as_str(), first.redelivered), ("0", false));
}

#[tokio::test]
async fn recover_gives_all_back_and_they_come_again() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for number in 0..3 {
        publish(&*channel, "", "q", &number.to_string()).await.unwrap();
    }
    let mut inbox = consume(&*channel, "q", 2).await;
    let first = receive(&mut inbox, 2).await;
    channel.recover().await.unwrap();
    let again = receive(&mut inbox, 2).await;
    assert_eq!(bodies(&again), bodies(&first));
    assert!(again.iter().all(|delivery| delivery.redelivered));
    let old = channel.settle(Settle::one(first[0].tag, Outcome::Ack)).unwrap_err();
    assert_eq!(old.kind(), ErrorKind::MessageState);
}

#[tokio::test]
async fn no_ack_settles_by_delivery() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    publish(&*channel, "", "q", "x").await.unwrap();
    let mut take = Get::new("q");
    take.no_ack = true;
    let taken = channel.get(&take).await.unwrap().unwrap();
    let settled = channel.settle(Settle::one(taken.tag, Outcome::Ack)).unwrap_err();
    assert_eq!(settled.kind(), ErrorKind::MessageState);
    channel.close().await.unwrap();
}

#[tokio::test]
async fn unroutable_messages_are_told_when_asked_and_go_to_the_dead_letter_queue() {
    let broker = Broker::new();
    let channel = broker.channel().await;
    let mut mandatory = Publish::new("", "nowhere", message("x"));
    mandatory.mandatory = true;
    let publish_it = channel.publish(Arc::new(mandatory.clone())).await.unwrap();
    assert_eq!(publish_it.await.unwrap_err().kind(), ErrorKind::Unroutable);
    publish(&*channel, "", "nowhere", "x").await.unwrap();
    let missing = publish(&*channel, "no such exchange", "k", "x").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);

    let options = Options::new().with("deadletter_queue", "lost");
    let connection = broker.connect_with(options).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    publish(&*channel, "", "nowhere", "y").await.unwrap();
    assert_eq!(body(&get(&*channel, "lost").await.unwrap()), "y");
}

#[tokio::test]
async fn a_wrong_expiration_is_refused() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut wrong = message("x");
    wrong.properties = Box::new(Properties::new());
    wrong.properties.expiration = Some("soon".into());
    let error = publish_message(&*channel, "", "q", wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn unknown_options_are_refused() {
    let options = Options::new().with("deadleter_queue", "lost");
    let error = Broker::new().connect_with(options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("deadletter_queue"), "{error}");
}

#[tokio::test]
async fn missing_queues_are_not_found() {
    let channel = Broker::new().channel().await;
    let passive = Queue::new("q").passive(true);
    assert_eq!(channel.declare_queue(&passive).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(channel.get(&Get::new("q")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(channel.purge("q").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(channel.delete_queue(&DeleteQueue::new("q")).await.unwrap(), 0);
}

/// Waits until a condition holds.
async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    soon(async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
