//! How connections, producers and consumers behave when brokers and links fail.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kombu_core::{
    Connection, ConnectionState, ErrorKind, Exchange, FailoverStrategy, Queue, Result, RetryPolicy,
};

use crate::builder;
use crate::scripted::Script;

fn connects(log: &[String]) -> Vec<&str> {
    log.iter().filter_map(|line| line.strip_prefix("connect ")).collect()
}

/// Breaks the link and waits for the next one.
async fn relink(script: &Script, connection: &Connection) -> Result<()> {
    let mut links = script.links.subscribe();
    let before = *links.borrow();
    script.break_links();
    links.wait_for(|count| *count > before).await.unwrap();
    connection.connect().await
}

#[tokio::test(start_paused = true)]
async fn every_url_is_tried_in_the_first_round() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    script.kill("b");
    let connection = builder("scripted://a;scripted://b;scripted://c", &script)
        .retry(RetryPolicy::once())
        .connect()
        .await?;
    assert_eq!(connects(&script.take_log()), ["a", "b", "c"]);
    assert!(matches!(connection.state(), ConnectionState::Connected(url) if url.contains('c')));
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn one_error_names_all_dead_brokers_and_no_password() {
    let script = Arc::new(Script::default());
    for host in ["a", "b", "c"] {
        script.kill(host);
    }
    let error = builder("scripted://u:secret@a;scripted://u:secret@b;scripted://c", &script)
        .retry(RetryPolicy::once())
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    let text = format!("{error} {error:?}");
    for host in ["@a", "@b", "//c"] {
        assert!(text.contains(host), "{host} is missing in {text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_connection_connects_at_its_next_use() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    let connection = builder("scripted://a", &script).retry(RetryPolicy::once()).build()?;
    assert!(matches!(connection.state(), ConnectionState::Idle));
    assert!(connection.connect().await.is_err());
    assert!(matches!(connection.state(), ConnectionState::Failed(_)));
    assert!(connection.connect().await.is_err());
    assert_eq!(connects(&script.take_log()).len(), 2);
    script.revive("a");
    connection.connect().await?;
    assert!(matches!(connection.state(), ConnectionState::Connected(_)));
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_waits_for_its_broker() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    let connection = builder("scripted://a", &script).build()?;
    let (connected, ()) = tokio::join!(connection.connect(), async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        script.revive("a");
    });
    connected?;
    assert!(connects(&script.take_log()).len() > 2);
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_how_long_the_first_connection_waits() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    let patient = RetryPolicy::connect().deadline(Duration::from_secs(200));
    let endless = RetryPolicy::connect().without_deadline();
    for (policy, comes_after) in [(patient, 150), (endless, 5000)] {
        let connection = builder("scripted://a", &script).retry(policy).build()?;
        let (connected, ()) = tokio::join!(connection.connect(), async {
            tokio::time::sleep(Duration::from_secs(comes_after)).await;
            script.revive("a");
        });
        connected?;
        connection.close().await?;
        script.kill("a");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_custom_cycle_decides_the_order() -> Result<()> {
    let script = Arc::new(Script::default());
    let backwards = FailoverStrategy::custom(|urls: &[kombu_core::BrokerUrl], _round| {
        (0..urls.len()).rev().collect()
    });
    let connection =
        builder("scripted://a;scripted://b", &script).failover(backwards).connect().await?;
    assert_eq!(connects(&script.take_log()), ["b"]);
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn topology_is_declared_again_on_the_next_link() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let media = Exchange::direct("media");
    connection.declare_queue(&Queue::new("video").bind(&media, "video")).await?;
    connection.declare_queue(&Queue::new("gone")).await?;
    connection.delete_queue("gone").await?;
    script.take_log();
    relink(&script, &connection).await?;
    let log = script.take_log();
    assert_eq!(
        log,
        ["connect a", "exchange media", "queue video", "bind video", "close channel"],
        "exchange, queue and binding come back, what was deleted does not"
    );
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_at_the_next_link_does_not_stop_the_rest() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    for name in ["a", "b", "c"] {
        connection.declare_queue(&Queue::new(name)).await?;
    }
    script.refuse("b", ErrorKind::PreconditionFailed);
    script.take_log();
    relink(&script, &connection).await?;
    assert!(script.take_log().contains(&"queue c".to_owned()));
    let error = connection.declare_queue(&Queue::new("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_consumer_receives_after_its_link_broke() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut started = script.consumers.subscribe();
    let mut consumer = connection.consumer("video").start().await?;
    for round in 1..4 {
        started.wait_for(|count| *count >= round).await.unwrap();
        script.deliver("cats").await;
        let delivery = consumer.next().await.unwrap()?;
        assert_eq!(delivery.decode::<String>()?, "cats");
        script.break_links();
    }
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn what_was_fetched_through_a_broken_link_is_not_handed_out() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut started = script.consumers.subscribe();
    let mut consumer = connection.consumer("video").start().await?;
    script.deliver("old").await;
    script.break_links();
    started.wait_for(|count| *count >= 2).await.unwrap();
    script.deliver("new").await;
    assert_eq!(consumer.next().await.unwrap()?.decode::<String>()?, "new");
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_consumer_whose_queue_was_deleted_declares_it_again() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut started = script.consumers.subscribe();
    let mut consumer = connection.consumer("video").start().await?;
    script.take_log();
    script.cancel_last();
    started.wait_for(|count| *count >= 2).await.unwrap();
    assert_eq!(script.take_log(), ["queue video", "consume video"]);
    script.deliver("cats").await;
    assert!(consumer.next().await.unwrap().is_ok());
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_reconnecting_ends_the_consumer_with_its_reason() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut consumer = connection.consumer("video").start().await?;
    script.refuse("video", ErrorKind::AccessRefused);
    script.break_links();
    let error = consumer.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessRefused);
    assert!(consumer.next().await.is_none());
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn closing_the_connection_ends_its_consumers_without_an_error() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut consumer = connection.consumer("video").start().await?;
    let (closed, next) = tokio::join!(connection.close(), consumer.next());
    closed?;
    assert!(next.is_none());
    let error = connection.purge("video").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_consumer_is_cancelled_still_comes_out() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut consumer = connection.consumer("q").no_ack(true).start().await?;
    script.deliver("early").await;
    // More than fits between a transport and its consumer.
    script.deliver_late(1000);
    consumer.cancel().await;
    let mut bodies = Vec::new();
    while let Some(delivery) = consumer.next().await {
        bodies.push(delivery?.decode::<String>()?);
    }
    assert_eq!((bodies[0].as_str(), bodies.len()), ("early", 1001));
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_ends_its_subscription_and_its_deliveries_can_be_settled() -> Result<()>
{
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let mut consumer = connection.consumer("video").start().await?;
    script.deliver("cats").await;
    let delivery = consumer.next().await.unwrap()?;
    drop(consumer);
    delivery.ack().await?;
    connection.close().await?;
    let log = script.take_log();
    assert!(log.contains(&"settle 1 Ack".to_owned()), "{log:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_for_the_link_and_is_made_again_when_it_breaks() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let producer = connection.producer().await?;
    script.fail_publishes(2);
    script.take_log();
    producer.publish("cats").to("", "video").await?;
    let published = script.take_log().iter().filter(|line| *line == "publish video").count();
    assert_eq!(published, 3);

    script.fail_publishes(1);
    let error = producer.clone().retry(false).publish("cats").to("", "video").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_publish_ends_at_its_deadline_with_the_reason() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let producer = connection.producer().await?.timeout(Duration::from_secs(3));
    script.kill("a");
    script.break_links();
    connection.wait_for_state(|state| matches!(state, ConnectionState::Connecting)).await;
    let before = tokio::time::Instant::now();
    let error = producer.publish("cats").to("", "video").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("connection refused"), "{error}");
    let waited = before.elapsed();
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn declared_entities_are_declared_once_until_they_change() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let producer = connection.producer().await?;
    let media = Exchange::direct("media");
    script.take_log();
    for _ in 0..3 {
        producer.publish("cats").to(&media, "video").await?;
    }
    let declared = |log: &[String]| log.iter().filter(|line| *line == "exchange media").count();
    assert_eq!(declared(&script.take_log()), 1);
    producer.publish("cats").to(Exchange::topic("media"), "video").await?;
    assert_eq!(declared(&script.take_log()), 1, "another type is another declaration");
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_ends_the_link() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let producer = connection.producer().await?;
    drop(connection);
    producer.publish("cats").to("", "video").await?;
    drop(producer);
    // The script is held by the link's own objects until they end.
    while Arc::strong_count(&script) > 1 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_not_polled_holds_up_nobody() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let producer = connection.producer().await?;
    script.kill("a");
    script.break_links();
    connection.wait_for_state(|state| matches!(state, ConnectionState::Connecting)).await;
    // Polled once, it waits for a link and a channel; then it is left alone.
    let mut left_alone = producer.publish("cats").to("", "video").into_future();
    assert!((&mut left_alone).now_or_never().is_none());
    script.revive("a");
    producer.publish("dogs").to("", "video").await?;
    left_alone.await?;
    connection.close().await
}

#[tokio::test(start_paused = true)]
async fn a_channel_opens_on_the_next_link_when_this_one_just_broke() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    // Nobody had a chance to see it.
    script.break_links();
    assert!(matches!(connection.state(), ConnectionState::Connected(_)));
    connection.producer().await?;
    connection.purge("video").await?;
    assert_eq!(*script.links.borrow(), 2);
    connection.close().await
}
