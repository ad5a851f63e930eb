//! The first messages of a consumer, and declaring once.

use std::time::Duration;

use futures_util::StreamExt as _;
use kombu_core::{Connection, ErrorKind, Exchange, Queue, Result};
use tokio::time::Instant;

use super::{LIMIT, SOON, connect, size_becomes, text};

async fn with_messages(count: usize) -> Result<Connection> {
    let connection = connect().await?;
    let producer = connection.producer().await?;
    for number in 0..count {
        producer.publish(&number.to_string()).to_queue(&Queue::new("q")).await?;
    }
    Ok(connection)
}

#[tokio::test]
async fn a_limit_takes_so_many_and_leaves_the_others() -> Result<()> {
    let connection = with_messages(5).await?;
    let mut two = connection.consumer("q").drain(2).await?;
    let mut seen = Vec::new();
    while let Some(delivery) = two.next().await {
        let delivery = delivery?;
        seen.push(text(&delivery));
        delivery.ack().await?;
    }
    assert_eq!(seen, ["0", "1"]);
    assert!(two.next().await.is_none());
    two.close().await?;
    assert_eq!(connection.size("q").await?, 3);
    assert_eq!(text(&connection.get("q").await?.unwrap()), "2");

    let mut none = connection.consumer("q").drain(0).await?;
    assert!(none.next().await.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_a_message_breaks_the_silence() -> Result<()> {
    let connection = with_messages(3).await?;
    let mut rest = connection.consumer("q").start().await?.drain().idle(SOON);
    let seen = rest.by_ref().map(|delivery| text(&delivery.unwrap())).collect::<Vec<_>>().await;
    assert_eq!(seen, ["0", "1", "2"]);
    // What takes longer than the silence may, is no silence.
    let mut consumer = rest.into_consumer().drain().idle(SOON).limit(1);
    tokio::time::sleep(SOON * 2).await;
    connection.producer().await?.publish("late").to("", "q").await?;
    assert_eq!(text(&consumer.next().await.unwrap()?), "late");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_over_calls_that_were_dropped() -> Result<()> {
    let connection = with_messages(0).await?;
    let consumer = connection.consumer("q").start().await?;
    let mut quiet = consumer.drain().idle(Duration::from_millis(200));
    let asked = Instant::now();
    let ended = loop {
        tokio::select! {
            next = quiet.next() => break next,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        assert!(asked.elapsed() < LIMIT, "it never ends");
    };
    assert!(ended.is_none());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_time_ends_it_whatever_comes() -> Result<()> {
    let connection = with_messages(0).await?;
    let producer = connection.producer().await?;
    let mut all = connection.consumer("q").start().await?.drain().within(SOON * 4);
    let publishing = async {
        loop {
            producer.publish("more").to("", "q").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let taking = async {
        let mut count = 0;
        while let Some(delivery) = all.next().await {
            delivery.unwrap().ack().await.unwrap();
            count += 1;
        }
        count
    };
    tokio::select! {
        () = publishing => unreachable!("it goes on for ever"),
        count = taking => assert!(count > 0),
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn too_few_are_an_error_if_they_are_required() -> Result<()> {
    let connection = with_messages(1).await?;
    let mut three = connection.consumer("q").drain(3).await?.idle(SOON).required();
    assert!(three.next().await.unwrap().is_ok());
    let error = three.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot receive: timed out: the time passed (missing=2)");
    assert!(three.next().await.is_none());
    Ok(())
}

#[tokio::test]
async fn a_dropped_one_gives_back_what_it_held() -> Result<()> {
    let connection = with_messages(4).await?;
    let mut two = connection.consumer("q").drain(2).await?;
    let held = two.next().await.unwrap()?;
    drop(two);
    drop(held);
    size_becomes(&connection, "q", 4).await;
    Ok(())
}

#[tokio::test]
async fn declaring_once_is_enough() -> Result<()> {
    let connection = connect().await?;
    let media = Exchange::direct("media");
    let videos = Queue::new("video").bind(&media, "video");
    assert!(connection.maybe_declare(&media).await?);
    assert!(!connection.maybe_declare(&media).await?);
    assert!(connection.maybe_declare(&videos).await?);
    assert!(!connection.channel().maybe_declare(&videos).await?);
    assert!(connection.maybe_declare(Queue::new("gone").auto_delete(true)).await?);
    assert!(connection.maybe_declare(Queue::new("gone").auto_delete(true)).await?);
    assert!(!connection.maybe_declare(Exchange::default_exchange()).await?);
    let other = connection.maybe_declare(Exchange::topic("media")).await;
    assert_eq!(other.unwrap_err().kind(), ErrorKind::PreconditionFailed);
    Ok(())
}
