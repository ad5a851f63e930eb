//! Consuming and settling.

use kombu_core::transport::{ConsumerTag, DeleteQueue, DeliveryTag, Get, Outcome, Settle};
use kombu_core::{ErrorKind, Queue, Scope, Value};

use crate::cases;
use crate::stage::{
    Case, Stage, consume, counts, get, message, poll_once, publish, soon, take, to_queue, until,
};
use crate::wire::Producer;

pub(crate) fn cases() -> Vec<Case> {
    cases![
        poison_headers_arrive_as_values,
        deliveries_come_in_order_and_in_batches,
        prefetch_counts_per_consumer,
        only_what_was_acked_is_gone,
        up_to_a_tag_means_all_below,
        requeued_and_rejected_messages_go_their_ways,
        recover_gives_everything_back,
        a_cancelled_consumer_gives_back_what_it_did_not_hand_over,
        an_abandoned_consumer_is_cancelled,
        a_deleted_queue_ends_its_consumer_with_a_notice,
        a_tag_in_use_is_refused_here,
        a_closed_channel_gives_everything_back,
        settling_on_a_dead_channel_is_stale,
        quorum_queues_have_prefetch_and_count_deliveries,
        consumers_have_priorities,
    ]
}

async fn poison_headers_arrive_as_values(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let producer = Producer::connect().await;
    let table: &[&[u8]] = &[
        b"\x01nL\x00\x00\x00\x01\x2a\x05\xf2\x00", // as py-amqp writes 5000000000
        b"\x01lL\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01bS\x00\x00\x00\x02\xff\xfe", // as py-amqp writes bytes
        b"\x01ff\x3f\xc0\x00\x00",
        b"\x01DD\x02\xff\xff\xff\x88", // a negative decimal, -1.20
        b"\x01ss\xff\xfe",
        b"\x01uu\xff\xfe",
        b"\x01ii\xff\xff\xff\xff",
        b"\x01BB\xff",
        b"\x01tT\x00\x00\x00\x00\x65\x53\xf1\x00",
        b"\x01aA\x00\x00\x00\x04VV\x74\x01",
    ];
    producer.publish(&queue, &table.concat(), b"poison").await;
    producer.publish(&queue, b"", b"after").await;
    let deliveries = take(&mut inbox, 2).await;
    let headers = &deliveries[0].message.properties.headers;
    let is = |name: &str, value: Value| assert_eq!(headers.get(name), Some(&value), "{name}");
    is("n", Value::Int(5_000_000_000));
    is("l", Value::Int(-1));
    is("b", Value::Bytes(bytes::Bytes::from_static(b"\xff\xfe")));
    is("f", Value::Float(1.5));
    is("D", Value::Decimal("-1.20".to_owned()));
    is("s", Value::Int(-2));
    is("u", Value::Int(65_534));
    is("i", Value::Int(4_294_967_295));
    is("B", Value::Int(255));
    is("t", Value::Timestamp(1_700_000_000));
    is("a", Value::List(vec![Value::Null, Value::Null, Value::Bool(true)]));
    assert_eq!(deliveries[1].message.body, "after");
    connection.ping().await.unwrap();
    connection.close().await.unwrap();
}

async fn deliveries_come_in_order_and_in_batches(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let mut confirms = Vec::new();
    for number in 0..3_000 {
        let publish = to_queue(&queue, message(number.to_string()));
        confirms.push(channel.publish(publish).await.unwrap());
    }
    for confirm in confirms {
        soon(confirm).await.unwrap();
    }
    let mut inbox = consume(&channel, &queue, "c", |consume| consume.prefetch = 500).await;
    let (mut count, mut batches) = (0, 0);
    while count < 3_000 {
        let batch = soon(inbox.next()).await.unwrap();
        batches += 1;
        for delivery in &batch {
            assert_eq!(delivery.message.body, count.to_string());
            assert_eq!(delivery.tag, DeliveryTag(count + 1));
            count += 1;
        }
        let last = batch.last().expect("no batch is empty").tag;
        let _sent_soon = channel.settle(Settle::up_to(last, Outcome::Ack)).unwrap();
        channel.flush();
    }
    assert!(batches < 2_000, "{batches} batches");
    channel.settled().await.unwrap();
    channel.close().await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    assert_eq!(counts(&channel, &queue).await, (0, 0));
    connection.close().await.unwrap();
}

async fn prefetch_counts_per_consumer(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queues = [stage.name("a"), stage.name("b"), stage.name("c")];
    for queue in &queues {
        channel.declare_queue(&Queue::new(queue).exclusive(true)).await.unwrap();
        for _ in 0..20 {
            publish(&channel, to_queue(queue, message("x"))).await.unwrap();
        }
    }
    let mut inboxes = Vec::new();
    for (queue, prefetch) in queues.iter().zip([3, 7, 0]) {
        let inbox = consume(&channel, queue, queue, |consume| consume.prefetch = prefetch).await;
        inboxes.push(inbox);
    }
    for ((queue, inbox), expected) in queues.iter().zip(&mut inboxes).zip([3, 7, 20]) {
        assert_eq!(take(inbox, expected).await.len(), expected);
        // After a round trip everything that was to come has come.
        assert_eq!(counts(&channel, queue).await.0, 20 - expected as u64);
        assert!(poll_once(inbox.next()).await.is_none());
    }
    connection.close().await.unwrap();
}

async fn only_what_was_acked_is_gone(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    for number in 0..100 {
        publish(&channel, to_queue(&queue, message(number.to_string()))).await.unwrap();
    }
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let deliveries = take(&mut inbox, 100).await;
    // Every third stays open, and the rest is acked from the back in gusts.
    let (kept, acked): (Vec<_>, Vec<_>) =
        deliveries.into_iter().enumerate().partition(|(number, _)| number % 3 == 1);
    for (number, delivery) in acked.into_iter().rev() {
        let confirm = channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap();
        if number % 10 == 0 {
            channel.flush();
            soon(confirm).await.unwrap();
        }
    }
    channel.settled().await.unwrap();
    channel.close().await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    for (_, delivery) in kept {
        let again = get(&channel, &queue).await;
        assert_eq!(again.message.body, delivery.message.body);
        assert!(again.redelivered);
    }
    assert!(channel.get(&Get::new(&queue)).await.unwrap().is_none());
    connection.close().await.unwrap();
}

async fn up_to_a_tag_means_all_below(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    for number in 0..10 {
        publish(&channel, to_queue(&queue, message(number.to_string()))).await.unwrap();
    }
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let deliveries = take(&mut inbox, 10).await;
    soon(channel.settle(Settle::up_to(deliveries[5].tag, Outcome::Ack)).unwrap()).await.unwrap();
    for delivery in &deliveries[..6] {
        let again = channel.settle(Settle::one(delivery.tag, Outcome::Ack));
        assert_eq!(again.map(drop).unwrap_err().kind(), ErrorKind::MessageState);
    }
    channel.close().await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    for number in 6..10 {
        assert_eq!(get(&channel, &queue).await.message.body, number.to_string());
    }
    assert!(channel.get(&Get::new(&queue)).await.unwrap().is_none());
    connection.close().await.unwrap();
}

async fn requeued_and_rejected_messages_go_their_ways(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let dead = stage.name("dead");
    channel.declare_queue(&Queue::new(&dead).exclusive(true)).await.unwrap();
    let queue = Queue::new(stage.name("q"))
        .exclusive(true)
        .argument("x-dead-letter-exchange", "")
        .argument("x-dead-letter-routing-key", dead.as_str());
    channel.declare_queue(&queue).await.unwrap();
    for number in 0..4 {
        publish(&channel, to_queue(queue.name(), message(number.to_string()))).await.unwrap();
    }
    let mut inbox = consume(&channel, queue.name(), "c", |consume| consume.prefetch = 2).await;
    let first = take(&mut inbox, 2).await;
    let _sent_soon = channel.settle(Settle::one(first[0].tag, Outcome::Requeue)).unwrap();
    let _sent_soon = channel.settle(Settle::one(first[1].tag, Outcome::Reject)).unwrap();
    let again = take(&mut inbox, 1).await.remove(0);
    assert_eq!((again.message.body.as_ref(), again.redelivered), (&b"0"[..], true));
    assert_eq!(get(&channel, &dead).await.message.body, "1");
    connection.close().await.unwrap();
}

async fn recover_gives_everything_back(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    for number in 0..5 {
        publish(&channel, to_queue(&queue, message(number.to_string()))).await.unwrap();
    }
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let first = take(&mut inbox, 5).await;
    soon(channel.settle(Settle::one(first[2].tag, Outcome::Ack)).unwrap()).await.unwrap();
    channel.recover().await.unwrap();
    let bodies: Vec<_> = take(&mut inbox, 4).await.into_iter().map(|d| d.message.body).collect();
    assert_eq!(bodies, ["0", "1", "3", "4"]);
    let stale = channel.settle(Settle::one(first[0].tag, Outcome::Ack)).map(drop).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::MessageState);
    connection.ping().await.unwrap();
    assert_eq!(counts(&channel, &queue).await.0, 0);
    connection.close().await.unwrap();
}

async fn a_cancelled_consumer_gives_back_what_it_did_not_hand_over(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let mut confirms = Vec::new();
    for number in 0..10_000 {
        let publish = to_queue(&queue, message(number.to_string()));
        confirms.push(channel.publish(publish).await.unwrap());
    }
    for confirm in confirms {
        soon(confirm).await.unwrap();
    }
    // An inbox of 16 batches cannot take all of it.
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let tag = ConsumerTag::new("c");
    let mut taken = soon(inbox.next()).await.unwrap().len();
    soon(channel.cancel(&tag)).await.unwrap();
    channel.settled().await.unwrap();
    while let Some(Some(batch)) = poll_once(inbox.next()).await {
        taken += batch.len();
    }
    assert!(taken < 10_000);
    let back = 10_000 - u64::try_from(taken).unwrap();
    until("the rest is back", async || counts(&channel, &queue).await == (back, 0)).await;
    assert!(poll_once(inbox.next()).await.flatten().is_none());
    soon(channel.cancel(&tag)).await.unwrap();
    connection.close().await.unwrap();
}

async fn an_abandoned_consumer_is_cancelled(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    drop(consume(&channel, &queue, "c", |_| {}).await);
    until("it is cancelled", async || counts(&channel, &queue).await.1 == 0).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    get(&channel, &queue).await;
    // The tag is free again.
    let _inbox = consume(&channel, &queue, "c", |_| {}).await;
    connection.close().await.unwrap();
}

async fn a_deleted_queue_ends_its_consumer_with_a_notice(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let other = connection.open_channel().await.unwrap();
    other.delete_queue(&DeleteQueue::new(&queue)).await.unwrap();
    let (tag, reason) = soon(inbox.notice()).await.unwrap();
    assert_eq!(tag, ConsumerTag::new("c"));
    assert_eq!(reason.kind(), ErrorKind::Cancelled);
    connection.ping().await.unwrap();
    stage.queue(&channel).await;
    connection.close().await.unwrap();
}

async fn a_tag_in_use_is_refused_here(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let _inbox = consume(&channel, &queue, "c", |_| {}).await;
    let (sink, _inbox) = kombu_core::transport::sink(1);
    let again = kombu_core::transport::Consume::new(queue.as_str(), ConsumerTag::new("c"), sink);
    let error = channel.consume(again).await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::InvalidArgument, Scope::Local));
    assert_eq!(counts(&channel, &queue).await.1, 1);
    connection.close().await.unwrap();
}

async fn a_closed_channel_gives_everything_back(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    for number in 0..10 {
        publish(&channel, to_queue(&queue, message(number.to_string()))).await.unwrap();
    }
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    let taken = take(&mut inbox, 10).await;
    // Not flushed: closing sends it.
    let confirm = channel.settle(Settle::one(taken[0].tag, Outcome::Ack)).unwrap();
    channel.close().await.unwrap();
    soon(confirm).await.unwrap();
    let other = connection.open_channel().await.unwrap();
    assert_eq!(counts(&other, &queue).await, (9, 0));
    let again = get(&other, &queue).await;
    assert_eq!((again.message.body.as_ref(), again.redelivered), (&b"1"[..], true));
    connection.close().await.unwrap();
}

async fn settling_on_a_dead_channel_is_stale(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    let delivery = get(&channel, &queue).await;
    channel.purge(&stage.name("missing")).await.unwrap_err();
    soon(channel.lost()).await;
    let error = channel.settle(Settle::one(delivery.tag, Outcome::Ack)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StaleDelivery);
    connection.close().await.unwrap();
}

async fn quorum_queues_have_prefetch_and_count_deliveries(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = Queue::new(stage.name("quorum")).quorum();
    channel.declare_queue(&queue).await.unwrap();
    publish(&channel, to_queue(queue.name(), message("x"))).await.unwrap();
    let mut inbox = consume(&channel, queue.name(), "c", |consume| consume.prefetch = 1).await;
    for count in 0..4 {
        let delivery = take(&mut inbox, 1).await.remove(0);
        assert_eq!(delivery.delivery_count.unwrap_or(0), count);
        assert_eq!(delivery.redelivered, count > 0);
        let requeue = Settle::one(delivery.tag, Outcome::Requeue);
        soon(channel.settle(requeue).unwrap()).await.unwrap();
    }
    for _ in 0..5 {
        publish(&channel, to_queue(queue.name(), message("y"))).await.unwrap();
    }
    take(&mut inbox, 1).await;
    connection.ping().await.unwrap();
    assert!(poll_once(inbox.next()).await.is_none(), "prefetch is 1");
    channel.delete_queue(&DeleteQueue::new(queue.name())).await.unwrap();
    connection.close().await.unwrap();
}

async fn consumers_have_priorities(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    let mut low = consume(&channel, &queue, "low", |_| {}).await;
    let mut high = consume(&channel, &queue, "high", |consume| {
        consume.arguments.insert("x-priority", 10);
    })
    .await;
    for _ in 0..10 {
        publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    }
    assert_eq!(take(&mut high, 10).await.len(), 10);
    assert!(poll_once(low.next()).await.is_none());
    connection.close().await.unwrap();
}
