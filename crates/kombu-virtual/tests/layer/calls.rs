//! What the layer does with a store: batches, leases, fetch loops, errors, dead letters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kombu_core::transport::{BindQueue, Consume, ConsumerTag, Outcome, Publish, Settle, sink};
use kombu_core::{Binding, ErrorKind, Exchange, Message, Properties, Queue};
use kombu_virtual::VirtualOptions;
use tokio::time::{Instant, sleep};

use crate::broker::{Knobs, TestBroker, consume, fill, publication, receive, soon, text};

#[tokio::test(start_paused = true)]
async fn publishes_in_flight_share_calls_and_keep_their_order() {
    let broker = TestBroker::new(Knobs { seed: Some(1), ..Knobs::default() });
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    fill(&*channel, "q", 120).await;
    let numbers: Vec<_> = (0..120).map(|number| number.to_string()).collect();
    assert_eq!(broker.waiting("q"), numbers);
    let puts = broker.seen.lock().unwrap().puts.clone();
    assert!(puts.len() <= 4 && puts.iter().all(|size| *size <= 50), "{puts:?}");
}

#[tokio::test(start_paused = true)]
async fn settlements_share_calls_and_go_within_a_millisecond_or_at_flush() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    fill(&*channel, "q", 40).await;
    let mut inbox = consume(&*channel, "q", 0, 4).await;
    let deliveries = receive(&mut inbox, 40).await;
    let start = Instant::now();
    let mut last = None;
    for delivery in &deliveries[..20] {
        last = Some(channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap());
    }
    soon(last.unwrap()).await.unwrap();
    assert!(start.elapsed() <= Duration::from_millis(2), "{:?}", start.elapsed());
    assert_eq!(broker.seen.lock().unwrap().settles, [20]);
    let start = Instant::now();
    let rest = channel.settle(Settle::up_to(deliveries[39].tag, Outcome::Ack)).unwrap();
    channel.flush();
    soon(rest).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(broker.seen.lock().unwrap().settles, [20, 20]);
    assert_eq!(broker.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_messages_are_held_in_the_window_or_behind_a_full_sink() {
    let lease = Duration::from_secs(30);
    let broker = TestBroker::new(Knobs { lease: Some(lease), ..Knobs::default() });
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut inbox = consume(&*channel, "q", 0, 1).await;
    fill(&*channel, "q", 1).await;
    let held = receive(&mut inbox, 1).await;
    // Two batches: the second has no room in the sink.
    fill(&*channel, "q", 1).await;
    sleep(Duration::from_millis(10)).await;
    fill(&*channel, "q", 1).await;
    sleep(lease * 10).await;
    assert_eq!(broker.held(), 3);
    let watcher = broker.channel().await;
    let other = watcher.get(&kombu_core::transport::Get::new("q")).await.unwrap();
    assert!(other.is_none(), "a lease ended");
    let renewals = broker.seen.lock().unwrap().renewals;
    assert!((75..=93).contains(&renewals), "{renewals} renewals of 3 messages in 10 leases");
    channel.settle(Settle::one(held[0].tag, Outcome::Ack)).unwrap().await.unwrap();
    assert_eq!(receive(&mut inbox, 2).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_settled_at_once_is_not_renewed() {
    let lease = Duration::from_secs(30);
    let broker = TestBroker::new(Knobs { lease: Some(lease), ..Knobs::default() });
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut inbox = consume(&*channel, "q", 1, 1).await;
    for _ in 0..100 {
        fill(&*channel, "q", 1).await;
        let held = receive(&mut inbox, 1).await;
        sleep(Duration::from_secs(1)).await;
        channel.settle(Settle::one(held[0].tag, Outcome::Ack)).unwrap().await.unwrap();
    }
    assert_eq!(broker.seen.lock().unwrap().renewals, 0);
}

#[tokio::test(start_paused = true)]
async fn maintenance_comes_at_its_interval_until_the_connection_closes() {
    let maintenance = Some(Duration::from_secs(10));
    let broker = TestBroker::new(Knobs { maintenance, ..Knobs::default() });
    let connection = broker.connect();
    sleep(Duration::from_secs(95)).await;
    assert_eq!(broker.seen.lock().unwrap().maintained, 10);
    connection.close().await.unwrap();
    sleep(Duration::from_secs(95)).await;
    assert_eq!(broker.seen.lock().unwrap().maintained, 10);
}

#[tokio::test(start_paused = true)]
async fn one_loop_claims_from_all_queues_in_turn() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    let mut inboxes = Vec::new();
    for queue in ["a", "b", "c"] {
        channel.declare_queue(&Queue::new(queue)).await.unwrap();
        inboxes.push(consume(&*channel, queue, 1, 8).await);
    }
    for _ in 0..6 {
        fill(&*channel, "a", 1).await;
        let held = receive(&mut inboxes[0], 1).await;
        channel.settle(Settle::one(held[0].tag, Outcome::Ack)).unwrap().await.unwrap();
    }
    let seen = broker.seen.lock().unwrap();
    for queue in ["a", "b", "c"] {
        assert!(
            seen.claims.iter().any(|wants| wants.len() == 3 && wants[0] == queue),
            "{queue} was never the first: {:?}",
            seen.claims
        );
    }
    assert_eq!(seen.consuming, ["begin a", "begin b", "begin c"]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_opens_is_claimed_for_although_another_queue_is_waited_on() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("busy")).await.unwrap();
    channel.declare_queue(&Queue::new("empty")).await.unwrap();
    fill(&*channel, "busy", 2).await;
    let mut busy = consume(&*channel, "busy", 1, 8).await;
    let _empty = consume(&*channel, "empty", 1, 8).await;
    let first = receive(&mut busy, 1).await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    channel.settle(Settle::one(first[0].tag, Outcome::Ack)).unwrap().await.unwrap();
    receive(&mut busy, 1).await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn loops_of_single_queues_do_not_wait_for_each_other() {
    let broker =
        TestBroker::new(Knobs { loop_per_queue: true, stubborn: true, ..Knobs::default() });
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("empty")).await.unwrap();
    channel.declare_queue(&Queue::new("busy")).await.unwrap();
    let _empty = consume(&*channel, "empty", 1, 8).await;
    sleep(Duration::from_secs(1)).await;
    let mut busy = consume(&*channel, "busy", 1, 8).await;
    let start = Instant::now();
    fill(&*channel, "busy", 1).await;
    receive(&mut busy, 1).await;
    assert!(start.elapsed() < Duration::from_millis(10), "{:?}", start.elapsed());
    let seen = broker.seen.lock().unwrap();
    assert!(seen.claims.iter().all(|wants| wants.len() == 1), "{:?}", seen.claims);
}

#[tokio::test(start_paused = true)]
async fn an_idle_consumer_makes_few_calls() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    fill(&*channel, "q", 1).await;
    let mut inbox = consume(&*channel, "q", 1, 8).await;
    let _held = receive(&mut inbox, 1).await;
    let while_full = broker.seen.lock().unwrap().claims.len();
    sleep(Duration::from_secs(1000)).await;
    assert_eq!(broker.seen.lock().unwrap().claims.len(), while_full, "its window is full");
    let other = broker.channel().await;
    let _inbox = consume(&*other, "q", 1, 8).await;
    sleep(Duration::from_secs(1000)).await;
    let calls = broker.seen.lock().unwrap().claims.len() - while_full;
    assert!((50..=52).contains(&calls), "{calls} calls for 50 waits of 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_failed_claim_is_made_again_later() {
    let broker = TestBroker::new(Knobs::default());
    broker.failing_claims.store(5, Ordering::Relaxed);
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    fill(&*channel, "q", 1).await;
    let start = Instant::now();
    let mut inbox = consume(&*channel, "q", 1, 8).await;
    receive(&mut inbox, 1).await;
    assert!(start.elapsed() > Duration::from_secs(1), "it backs off");
    assert_eq!(broker.seen.lock().unwrap().claims.len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_lost_broker_ends_connection_and_channels() {
    let broker = TestBroker::new(Knobs::default());
    let connection = broker.connect();
    let channel = connection.open_channel().await.unwrap();
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    fill(&*channel, "q", 1).await;
    let mut inbox = consume(&*channel, "q", 1, 8).await;
    let held = receive(&mut inbox, 1).await;
    broker.lose();
    assert_eq!(soon(connection.lost()).await.kind(), ErrorKind::ConnectionLost);
    assert_eq!(soon(channel.lost()).await.kind(), ErrorKind::ConnectionLost);
    let stale = channel.settle(Settle::one(held[0].tag, Outcome::Ack)).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::StaleDelivery);
    let refused = channel.publish(publication("q", "x")).await.map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionLost);
    soon(connection.close()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn cancelling_does_not_wait_long_for_a_claim_that_cannot_be_interrupted() {
    let broker = TestBroker::new(Knobs { stubborn: true, ..Knobs::default() });
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let _inbox = consume(&*channel, "q", 1, 8).await;
    sleep(Duration::from_secs(1)).await;
    let start = Instant::now();
    soon(channel.cancel(&ConsumerTag::new("q"))).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(2), "{:?}", start.elapsed());
    // What the claim brings after all goes back, unseen.
    fill(&*channel, "q", 1).await;
    soon(async {
        while broker.waiting("q").is_empty() || broker.held() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let again = channel.get(&kombu_core::transport::Get::new("q")).await.unwrap().unwrap();
    assert!(!again.redelivered);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_message_is_delivered_as_such_and_the_next_one_too() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    for body in ["broken", "whole"] {
        channel.publish(publication("q", body)).await.unwrap().await.unwrap();
    }
    let mut inbox = consume(&*channel, "q", 0, 8).await;
    let deliveries = receive(&mut inbox, 2).await;
    let properties = &deliveries[0].message.properties;
    assert_eq!(properties.content_type.as_deref(), Some("application/x-kombu-broken-envelope"));
    assert_eq!(properties.headers.get("x-kombu-broken").unwrap().as_str(), Some("it says so"));
    assert_eq!(text(&deliveries[1]), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_dead_letter_cannot_be_kept_goes_back() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_exchange(&Exchange::direct("dlx")).await.unwrap();
    channel.declare_queue(&Queue::new("graves")).await.unwrap();
    let binding = Binding::new(Exchange::direct("dlx"), "q");
    channel.bind_queue(&BindQueue::new("graves", binding)).await.unwrap();
    let queue = Queue::new("q").argument("x-dead-letter-exchange", "dlx");
    channel.declare_queue(&queue).await.unwrap();
    fill(&*channel, "q", 1).await;
    let mut inbox = consume(&*channel, "q", 1, 8).await;
    let held = receive(&mut inbox, 1).await;
    broker.failing_puts.store(1, Ordering::Relaxed);
    let confirm = channel.settle(Settle::one(held[0].tag, Outcome::Reject)).unwrap();
    assert_eq!(soon(confirm).await.unwrap_err().message(), "the disk is full");
    let again = receive(&mut inbox, 1).await;
    assert!(again[0].redelivered);
    let confirm = channel.settle(Settle::one(again[0].tag, Outcome::Reject)).unwrap();
    soon(confirm).await.unwrap();
    assert_eq!((broker.waiting("q").len(), broker.waiting("graves").len()), (0, 1));
    assert_eq!(broker.held(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_ack_consumers_get_what_they_can_take_and_leave_the_rest() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let (sink, mut inbox) = sink(1);
    let mut consume = Consume::new("q", ConsumerTag::new("c"), sink);
    consume.no_ack = true;
    channel.consume(consume).await.unwrap();
    for number in 0..3 {
        channel.publish(publication("q", &number.to_string())).await.unwrap().await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    // One is in the sink, one waits for room in it, one was not claimed for want of room.
    assert_eq!(broker.waiting("q"), ["2"]);
    let taken = receive(&mut inbox, 1).await;
    let settled = channel.settle(Settle::one(taken[0].tag, Outcome::Ack)).unwrap_err();
    assert_eq!(settled.kind(), ErrorKind::MessageState);
    soon(channel.cancel(&ConsumerTag::new("c"))).await.unwrap();
    let mut left = broker.waiting("q").len();
    while let Some(batch) = soon(inbox.next()).await {
        left += batch.len();
    }
    assert_eq!(left, 2);
}

#[tokio::test(start_paused = true)]
async fn queues_of_the_default_exchange_need_no_declaration_here_unless_asked() {
    let broker = TestBroker::new(Knobs::default());
    let channel = broker.channel().await;
    channel.publish(publication("new", "x")).await.unwrap().await.unwrap();
    assert_eq!(broker.waiting("new"), ["x"]);
    let message = Message::new("x", Properties::new());
    let mut mandatory = Publish::new("", "missing", message.clone());
    mandatory.mandatory = true;
    let unroutable = channel.publish(Arc::new(mandatory)).await.unwrap().await.unwrap_err();
    assert_eq!(unroutable.kind(), ErrorKind::Unroutable);
    channel.declare_exchange(&Exchange::direct("e")).await.unwrap();
    let mut options = VirtualOptions::new();
    options.deadletter_queue = Some("lost".to_owned());
    let channel = broker.connect_with(options).open_channel().await.unwrap();
    let nowhere = Arc::new(Publish::new("e", "nowhere", message));
    channel.publish(nowhere).await.unwrap().await.unwrap();
    assert_eq!(broker.waiting("lost"), ["x"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_promised_is_unsupported() {
    let channel = TestBroker::new(Knobs::default()).channel().await;
    for queue in [
        Queue::new("q").exclusive(true),
        Queue::new("q").auto_delete(true),
        Queue::new("q").max_length(1),
        Queue::new("q").expires(Duration::from_secs(1)),
        Queue::new("q").message_ttl(Duration::from_secs(1)),
        Queue::new("q").max_priority(3),
        Queue::new("q").quorum(),
    ] {
        let refused = channel.declare_queue(&queue).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{queue:?}");
        assert!(refused.to_string().contains("\"test\""), "{refused}");
    }
    for kind in ["topic", "fanout", "headers", "x-delayed-message"] {
        let refused = channel.declare_exchange(&Exchange::new("e", kind)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{kind}");
    }
    let mut properties = Properties::new();
    properties.expiration = Some("1000".into());
    let expiring = Publish::new("", "q", Message::new("x", properties));
    let refused = channel.publish(Arc::new(expiring)).await.unwrap().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}
