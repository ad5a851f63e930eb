//! What queues do by themselves: order, limits, time, and their end.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use kombu_core::transport::{
    BindQueue, Consume, ConsumerTag, DeleteExchange, DeleteQueue, ExchangeBinding, RawChannel,
    Settle, sink,
};
use kombu_core::{Binding, ErrorKind, Exchange, Outcome, Queue, Value};
use support::*;
use tokio::time::advance;

async fn count(channel: &dyn RawChannel, queue: &str) -> u64 {
    channel.declare_queue(&Queue::new(queue).passive(true)).await.unwrap().messages
}

async fn drain(channel: &dyn RawChannel, queue: &str) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(delivery) = get(channel, queue).await {
        ack(channel, delivery.tag).await;
        all.push(body(&delivery));
    }
    all
}

async fn bind(channel: &dyn RawChannel, exchange: &Exchange, key: &str, queue: &str) {
    channel.declare_exchange(exchange).await.unwrap();
    channel.declare_queue(&Queue::new(queue)).await.unwrap();
    channel.bind_queue(&BindQueue::new(queue, Binding::new(exchange, key))).await.unwrap();
}

#[tokio::test]
async fn queues_with_priorities_serve_the_highest_first_and_others_the_oldest() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("sorted").max_priority(5)).await.unwrap();
    channel.declare_queue(&Queue::new("plain")).await.unwrap();
    for (index, priority) in [0, 9, 3, 5, 3].into_iter().enumerate() {
        for queue in ["sorted", "plain"] {
            let mut message = message(&format!("{priority}/{index}"));
            message.properties.priority = priority;
            publish_message(&*channel, "", queue, message).await.unwrap();
        }
    }
    // 9 is taken for the queue's highest, 5.
    assert_eq!(drain(&*channel, "sorted").await, ["9/1", "5/3", "3/2", "3/4", "0/0"]);
    assert_eq!(drain(&*channel, "plain").await, ["0/0", "9/1", "3/2", "5/3", "3/4"]);
}

#[tokio::test]
async fn exchanges_of_all_types_route() {
    let channel = Broker::new().channel().await;
    bind(&*channel, &Exchange::direct("d"), "k", "direct").await;
    bind(&*channel, &Exchange::topic("t"), "a.#", "topic").await;
    bind(&*channel, &Exchange::fanout("f"), "", "fanout").await;
    let headers = Exchange::headers("h");
    channel.declare_exchange(&headers).await.unwrap();
    channel.declare_queue(&Queue::new("headers")).await.unwrap();
    let binding = Binding::new(&headers, "").argument("x-match", "any").argument("n", 1);
    channel.bind_queue(&BindQueue::new("headers", binding)).await.unwrap();

    for (exchange, key) in
        [("d", "k"), ("d", "other"), ("t", "a"), ("t", "b"), ("f", "x"), ("h", "")]
    {
        publish(&*channel, exchange, key, &format!("{exchange} {key}")).await.unwrap();
    }
    let mut with_header = message("header");
    with_header.properties.headers.insert("n", 1);
    publish_message(&*channel, "h", "", with_header).await.unwrap();
    assert_eq!(drain(&*channel, "direct").await, ["d k"]);
    assert_eq!(drain(&*channel, "topic").await, ["t a"]);
    assert_eq!(drain(&*channel, "fanout").await, ["f x"]);
    assert_eq!(drain(&*channel, "headers").await, ["header"]);
}

#[tokio::test]
async fn exchanges_bound_in_a_circle_deliver_once() {
    let channel = Broker::new().channel().await;
    bind(&*channel, &Exchange::fanout("a"), "", "q").await;
    bind(&*channel, &Exchange::topic("b"), "#", "q").await;
    let around = [("a", "b"), ("b", "a")];
    for (from, to) in around {
        let binding = Binding::new(Exchange::direct(from).passive(true), "#");
        channel.bind_exchange(&ExchangeBinding::new(to, binding)).await.unwrap();
    }
    publish(&*channel, "a", "k", "x").await.unwrap();
    assert_eq!(drain(&*channel, "q").await, ["x"]);
    let used = channel
        .delete_exchange(&{
            let mut delete = DeleteExchange::new("a");
            delete.if_unused = true;
            delete
        })
        .await
        .unwrap_err();
    assert_eq!(used.kind(), ErrorKind::PreconditionFailed);
    channel.delete_exchange(&DeleteExchange::new("a")).await.unwrap();
    let gone = publish(&*channel, "a", "k", "x").await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_alternate_exchange_takes_what_leads_nowhere() {
    let channel = Broker::new().channel().await;
    bind(&*channel, &Exchange::fanout("spare"), "", "q").await;
    let main = Exchange::direct("main").argument("alternate-exchange", "spare");
    channel.declare_exchange(&main).await.unwrap();
    publish(&*channel, "main", "k", "x").await.unwrap();
    assert_eq!(drain(&*channel, "q").await, ["x"]);
}

#[tokio::test]
async fn redeclaring_is_checked() {
    let channel = Broker::new().channel().await;
    channel.declare_exchange(&Exchange::direct("e")).await.unwrap();
    channel.declare_exchange(&Exchange::direct("e")).await.unwrap();
    let other = channel.declare_exchange(&Exchange::topic("e")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::PreconditionFailed);
    channel.declare_queue(&Queue::new("q").max_length(1)).await.unwrap();
    let other = channel.declare_queue(&Queue::new("q").max_length(2)).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::PreconditionFailed);
    assert!(other.to_string().contains("x-max-length"), "{other}");
    let quorum = channel.declare_queue(&Queue::new("r").quorum()).await.unwrap_err();
    assert_eq!(quorum.kind(), ErrorKind::Unsupported);
    let wrong = Queue::new("s").argument("x-overflow", "drop-tail");
    assert!(channel.declare_queue(&wrong).await.is_err());
    let missing = channel.declare_queue(&Queue::new("s").passive(true)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn deletes_can_be_conditional() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    publish(&*channel, "", "q", "x").await.unwrap();
    let mut delete = DeleteQueue::new("q");
    delete.if_empty = true;
    let full = channel.delete_queue(&delete).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::PreconditionFailed);
    let mut inbox = consume(&*channel, "q", 1).await;
    receive(&mut inbox, 1).await;
    delete.if_empty = false;
    delete.if_unused = true;
    let used = channel.delete_queue(&delete).await.unwrap_err();
    assert_eq!(used.kind(), ErrorKind::PreconditionFailed);
    publish(&*channel, "", "q", "y").await.unwrap();
    assert_eq!(channel.purge("q").await.unwrap(), 1);
}

#[tokio::test]
async fn consumers_hear_of_their_queue_being_deleted() {
    let broker = Broker::new();
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let mut inbox = consume(&*channel, "q", 1).await;
    publish(&*channel, "", "q", "old").await.unwrap();
    let held = receive(&mut inbox, 1).await;
    broker.channel().await.delete_queue(&DeleteQueue::new("q")).await.unwrap();
    let (tag, reason) = soon(inbox.notice()).await.unwrap();
    assert_eq!((tag.as_str(), reason.kind()), ("on q", ErrorKind::Cancelled));
    // The message belonged to the old queue.
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    channel.settle(Settle::one(held[0].tag, Outcome::Requeue)).unwrap().await.unwrap();
    assert!(get(&*channel, "q").await.is_none());
}

#[tokio::test]
async fn exclusive_queues_belong_to_their_connection_and_go_with_it() {
    let broker = Broker::new();
    let owner = broker.connect().await;
    let channel = owner.open_channel().await.unwrap();
    let queue = channel.declare_queue(&Queue::new("").exclusive(true)).await.unwrap().name;
    assert!(queue.starts_with("amq.gen-"), "{queue}");
    let stranger = broker.channel().await;
    let locked = stranger.declare_queue(&Queue::new(&queue).passive(true)).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::ResourceLocked);
    owner.close().await.unwrap();
    let gone = stranger.declare_queue(&Queue::new(&queue).passive(true)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn auto_delete_queues_go_with_their_last_consumer() {
    let broker = Broker::new();
    let channel = broker.channel().await;
    channel.declare_queue(&Queue::new("q").auto_delete(true)).await.unwrap();
    let _one = consume(&*channel, "q", 1).await;
    let other = broker.channel().await;
    let _two = consume(&*other, "q", 1).await;
    channel.cancel(&ConsumerTag::new("on q")).await.unwrap();
    assert_eq!(count(&*channel, "q").await, 0);
    other.close().await.unwrap();
    let gone = channel.declare_queue(&Queue::new("q").passive(true)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_exclusive_consumer_is_the_only_one() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("q")).await.unwrap();
    let (first, _inbox) = sink(1);
    let mut consume = Consume::new("q", ConsumerTag::new("a"), first.clone());
    consume.exclusive = true;
    channel.consume(consume).await.unwrap();
    let second = Consume::new("q", ConsumerTag::new("b"), first);
    assert_eq!(channel.consume(second).await.unwrap_err().kind(), ErrorKind::ResourceLocked);
}

#[tokio::test]
async fn full_queues_drop_their_head_or_refuse() {
    let channel = Broker::new().channel().await;
    channel.declare_queue(&Queue::new("head").max_length(2)).await.unwrap();
    let refusing =
        Queue::new("refuse").max_length_bytes(3).argument("x-overflow", "reject-publish");
    channel.declare_queue(&refusing).await.unwrap();
    for body in ["a", "b", "c"] {
        publish(&*channel, "", "head", body).await.unwrap();
    }
    assert_eq!(drain(&*channel, "head").await, ["b", "c"]);
    publish(&*channel, "", "refuse", "aa").await.unwrap();
    let full = publish(&*channel, "", "refuse", "bb").await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Nacked);
    publish(&*channel, "", "refuse", "c").await.unwrap();
    assert_eq!(drain(&*channel, "refuse").await, ["aa", "c"]);
}

#[tokio::test(start_paused = true)]
async fn messages_expire_by_their_own_time_and_by_the_queue() {
    let channel = Broker::new().channel().await;
    let ttl = Queue::new("ttl").message_ttl(Duration::from_secs(5));
    channel.declare_queue(&ttl).await.unwrap();
    let mut short = message("short");
    short.properties.expiration = Some("1000".into());
    publish_message(&*channel, "", "ttl", short).await.unwrap();
    publish(&*channel, "", "ttl", "long").await.unwrap();
    advance(Duration::from_secs(2)).await;
    assert_eq!(count(&*channel, "ttl").await, 1);
    advance(Duration::from_secs(4)).await;
    assert!(get(&*channel, "ttl").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_published_with_their_history() {
    let channel = Broker::new().channel().await;
    bind(&*channel, &Exchange::direct("dlx"), "dead", "graves").await;
    let source = Queue::new("q")
        .message_ttl(Duration::from_secs(1))
        .max_length(2)
        .argument("x-dead-letter-exchange", "dlx")
        .argument("x-dead-letter-routing-key", "dead");
    channel.declare_queue(&source).await.unwrap();
    let mut graves = consume(&*channel, "graves", 0).await;
    for body in ["surplus", "rejected", "expired"] {
        publish(&*channel, "", "q", body).await.unwrap();
    }
    let held = get(&*channel, "q").await.unwrap();
    channel.settle(Settle::one(held.tag, Outcome::Reject)).unwrap().await.unwrap();
    // Nobody asks the queue: its clock does.
    let mut letters = Vec::new();
    while letters.len() < 3 {
        letters.extend(soon(graves.next()).await.unwrap());
    }
    let reason = |index: usize| {
        let deaths = letters[index].message.properties.headers.get("x-death").unwrap();
        let death = deaths.as_list().unwrap()[0].as_table().unwrap();
        assert_eq!(death.get("queue"), Some(&Value::from("q")));
        death.get("reason").unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(bodies(&letters), ["surplus", "rejected", "expired"]);
    assert_eq!([reason(0), reason(1), reason(2)], ["maxlen", "rejected", "expired"]);
}

#[tokio::test(start_paused = true)]
async fn unused_queues_expire_and_used_ones_do_not() {
    let channel = Broker::new().channel().await;
    let queue = Queue::new("q").expires(Duration::from_secs(10));
    channel.declare_queue(&queue).await.unwrap();
    let inbox = consume(&*channel, "q", 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(count(&*channel, "q").await, 0);
    channel.cancel(&ConsumerTag::new("on q")).await.unwrap();
    drop(inbox);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(get(&*channel, "q").await.is_none());
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(count(&*channel, "q").await, 0);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let gone = channel.declare_queue(&Queue::new("q").passive(true)).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn brokers_are_told_apart_by_name() {
    use kombu_core::transport::{ConnectParams, Transport};
    use kombu_core::{BrokerUrl, Options};
    let transport = kombu_transport_memory::MemoryTransport::new();
    let connect = async |url: &str| {
        let params = ConnectParams::new(BrokerUrl::parse(url).unwrap(), Options::new()).unwrap();
        let connection = transport.connect(&params).await.unwrap();
        connection.open_channel().await.unwrap()
    };
    let one = connect("memory://one").await;
    one.declare_queue(&Queue::new("q")).await.unwrap();
    let same = connect("memory://one/").await;
    assert_eq!(count(&*same, "q").await, 0);
    for other in ["memory://", "memory://two", "memory://one/vhost"] {
        let other = connect(other).await;
        assert!(other.declare_queue(&Queue::new("q").passive(true)).await.is_err());
    }
    let default: Arc<dyn RawChannel> = connect("memory://localhost//").await;
    default.declare_queue(&Queue::new("d")).await.unwrap();
    assert_eq!(count(&*connect("memory://").await, "d").await, 0);
}
