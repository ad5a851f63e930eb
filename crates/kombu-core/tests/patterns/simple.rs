//! Simple queues.

use kombu_core::{Connection, DeliveryMode, ErrorKind, Exchange, Queue, Result};
use kombu_transport_memory::MemoryTransport;

use super::{LIMIT, SOON, connect, queue_goes, size_becomes, text};

#[tokio::test]
async fn queue_exchange_and_key_have_one_name() -> Result<()> {
    let connection = connect().await?;
    let jobs = connection.simple_queue("jobs").open().await?;
    let producer = connection.producer().await?;
    producer.publish("by the exchange").to("jobs", "jobs").await?;
    producer.publish("by the queue").to("", "jobs").await?;
    assert_eq!(jobs.size().await?, 2);
    let expected = Queue::new("jobs").bind(Exchange::direct("jobs"), "jobs");
    assert_eq!(jobs.queue(), &expected);
    Ok(())
}

#[tokio::test]
async fn messages_come_in_order_and_are_settled_one_by_one() -> Result<()> {
    let connection = connect().await?;
    let mut jobs = connection.simple_queue("jobs").prefetch(2).open().await?;
    for body in ["one", "two", "three"] {
        jobs.put(body).header("n", 1).await?;
    }
    let one = jobs.get().await?;
    assert_eq!((text(&one).as_str(), one.exchange()), ("one", "jobs"));
    let two = jobs.get_within(LIMIT).await?.unwrap();
    two.requeue().await?;
    one.ack().await?;
    let again = jobs.get().await?;
    assert_eq!((text(&again).as_str(), again.is_redelivered()), ("two", true));
    again.ack().await?;
    jobs.get().await?.reject().await?;
    assert!(jobs.get_within(SOON).await?.is_none());
    jobs.close().await?;
    assert_eq!(connection.size("jobs").await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_was_fetched_ahead_is_seen_without_waiting_and_goes_back_at_the_end() -> Result<()> {
    let connection = connect().await?;
    let mut jobs = connection.simple_queue("jobs").open().await?;
    assert!(jobs.try_get().await?.is_none());
    for number in 0..5 {
        jobs.put(&number).await?;
    }
    jobs.try_get().await?.unwrap().ack().await?;
    let held = jobs.get().await?;
    assert_eq!(held.decode::<u8>()?, 1);
    // The others were fetched with it.
    size_becomes(&connection, "jobs", 0).await;
    let next = jobs.try_get().await?.unwrap();
    assert_eq!(next.decode::<u8>()?, 2);
    next.ack().await?;
    jobs.close().await?;
    assert_eq!(connection.size("jobs").await?, 2);
    held.ack().await?;
    let first = connection.get("jobs").await?.unwrap();
    assert_eq!(first.decode::<u8>()?, 3);
    Ok(())
}

#[tokio::test]
async fn two_share_a_queue_when_neither_fetches_ahead() -> Result<()> {
    let connection = connect().await?;
    let mut one = connection.simple_queue("jobs").prefetch(1).open().await?;
    let mut two = connection.another().simple_queue("jobs").prefetch(1).open().await?;
    for number in 0..2 {
        one.put(&number).await?;
    }
    let held = one.get().await?;
    let other = two.get_within(LIMIT).await?.unwrap();
    assert_ne!(held.decode::<u8>()?, other.decode::<u8>()?);
    // Nothing comes before the first one is settled.
    one.put(&2).await?;
    assert!(one.get_within(SOON).await?.is_none());
    held.ack().await?;
    assert_eq!(one.get_within(LIMIT).await?.unwrap().decode::<u8>()?, 2);
    Ok(())
}

#[tokio::test]
async fn clear_drops_what_was_fetched_ahead_too() -> Result<()> {
    let connection = connect().await?;
    let mut jobs = connection.simple_queue("jobs").open().await?;
    for number in 0..5 {
        jobs.put(&number).await?;
    }
    jobs.get().await?.ack().await?;
    assert_eq!(jobs.clear().await?, 4);
    assert!(jobs.get_within(SOON).await?.is_none());
    jobs.put(&9).await?;
    assert_eq!(jobs.get().await?.decode::<u8>()?, 9);
    Ok(())
}

#[tokio::test]
async fn codecs_compression_and_accept_list_are_its_own() -> Result<()> {
    let connection = connect().await?;
    let simple = connection.simple_queue("jobs").serializer("json").compression("gzip");
    let mut jobs = simple.accept(["json"]).open().await?;
    jobs.put("text").await?;
    let job = jobs.try_get().await?.unwrap();
    assert_eq!(job.properties().content_type.as_deref(), Some("application/json"));
    assert!(job.headers().contains("compression"));
    assert_eq!(text(&job), "text");
    job.ack().await?;

    connection.producer().await?.publish("plain").to("", "jobs").await?;
    let job = jobs.try_get().await?.unwrap();
    assert_eq!(job.decode::<String>().unwrap_err().kind(), ErrorKind::ContentDisallowed);
    job.ack().await?;
    let wrong = connection.simple_queue("jobs").accept(["jsno"]).open().await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::InvalidArgument);
    Ok(())
}

#[tokio::test]
async fn any_queue_can_be_one() -> Result<()> {
    let connection = connect().await?;
    let queue = Queue::new("lamps").bind(Exchange::topic("house"), "lamp.*").max_length(1);
    let mut lamps = connection.simple_queue(&queue).open().await?;
    lamps.put("on").routing_key("lamp.hall").await?;
    lamps.put("off").routing_key("lamp.hall").await?;
    assert_eq!(text(&lamps.get().await?), "off", "it is bounded");

    let mut bare = connection.simple_queue(Queue::new("bare").max_length(5)).open().await?;
    bare.put("x").await?;
    let message = bare.get().await?;
    assert_eq!((message.exchange(), message.routing_key()), ("", "bare"));
    Ok(())
}

#[tokio::test]
async fn a_buffer_is_private_and_goes_with_its_connection() -> Result<()> {
    let connection = connect().await?;
    let mut log = connection.simple_buffer("log").open().await?;
    assert!(log.queue().is_exclusive() && !log.queue().is_durable());
    log.put("line").await?;
    let line = log.get().await?;
    assert_eq!(line.properties().delivery_mode, DeliveryMode::Transient);
    // Settled by being taken.
    line.ack().await?;
    drop(log);
    queue_goes(&connection, "log").await;
    Ok(())
}

#[tokio::test]
async fn a_closed_connection_ends_the_waiting() -> Result<()> {
    let memory = MemoryTransport::new();
    let connection = Connection::builder("memory://").transport(memory).connect().await?;
    let mut jobs = connection.simple_queue("jobs").open().await?;
    let (got, closed) = tokio::join!(jobs.get(), connection.close());
    closed?;
    assert_eq!(got.unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}
