//! Broken links, with a broker that is well.

use std::time::{Duration, Instant};

use kombu_core::{Connection, ErrorKind};

use super::traffic::Traffic;
use super::{until_down, until_up};
use crate::address;
use crate::case::cases;
use crate::failure::{Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, hold, next_within, size_becomes};

cases! {
    cut_link_is_made_again ["tcp", "at_least_once"];
    refused_link_is_tried_again ["tcp", "at_least_once"];
    frozen_broker_is_noticed ["tcp", "heartbeats"];
    frozen_link_is_made_again ["tcp", "heartbeats", "at_least_once"];
    short_freeze_loses_nothing ["tcp", "at_least_once"];
    half_open_server_does_not_hold_up_failover ["tcp", "heartbeats"];
    failover_goes_to_the_next_broker ["tcp", "at_least_once"];
    publish_has_a_deadline ["tcp"];
    declare_has_a_deadline ["tcp"];
    acknowledgement_over_a_lost_link_is_stale ["tcp", "at_least_once"];
    recovery_that_gives_up_says_so ["tcp"];
    close_ends_while_there_is_no_link ["tcp"];
}

/// Two connections through one URL: for publishing and for consuming.
async fn pair(stage: &Stage, url: &str) -> kombu_core::Result<(Connection, Connection)> {
    Ok((stage.builder_for(url).connect().await?, stage.builder_for(url).connect().await?))
}

async fn cut_link_is_made_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let (from, to) = pair(stage, &url).await?;
    let traffic = Traffic::start(stage, &from, &to, &stage.queue("work")).await?;
    for _ in 0..5 {
        traffic.flows(30).await?;
        proxy.cut();
    }
    traffic.flows(30).await?;
    traffic.balance().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn refused_link_is_tried_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let (from, to) = pair(stage, &url).await?;
    let traffic = Traffic::start(stage, &from, &to, &stage.queue("work")).await?;
    for _ in 0..2 {
        traffic.flows(20).await?;
        proxy.refuse().await;
        until_down(&from).await?;
        until_down(&to).await?;
        proxy.restore().await;
        until_up(&from).await?;
        until_up(&to).await?;
    }
    traffic.flows(20).await?;
    traffic.balance().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn frozen_broker_is_noticed(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let heartbeat = Duration::from_secs(2);
    let connection = stage.builder_for(&url).heartbeat(heartbeat).connect().await?;
    // A link that is idle for longer than the heartbeat stays.
    let idle = connection.wait_for_state(|state| !super::is_up(state));
    let stayed = tokio::time::timeout(heartbeat * 3, idle).await;
    assert!(stayed.is_err(), "an idle link was given up: {stayed:?}");
    let frozen = Instant::now();
    proxy.freeze();
    until_down(&connection).await?;
    let noticed = frozen.elapsed();
    assert!(noticed < heartbeat * 4, "it took {noticed:?} with heartbeats every {heartbeat:?}");
    proxy.thaw();
    until_up(&connection).await?;
    connection.declare_queue(&stage.queue("work")).await?;
    Ok(connection.close().await?)
}

async fn frozen_link_is_made_again(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let url = address::with_option(&url, "heartbeat=1");
    let (from, to) = pair(stage, &url).await?;
    let traffic = Traffic::start(stage, &from, &to, &stage.queue("work")).await?;
    for _ in 0..2 {
        traffic.flows(20).await?;
        proxy.freeze();
        until_down(&from).await?;
        until_down(&to).await?;
        proxy.thaw();
        until_up(&from).await?;
        until_up(&to).await?;
    }
    traffic.flows(20).await?;
    traffic.balance().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn short_freeze_loses_nothing(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let (from, to) = pair(stage, &url).await?;
    let queue = stage.queue("work");
    let traffic = Traffic::start(stage, &from, &to, &queue).await?;
    let probe = stage.builder_for(&url).connect().await?;
    for _ in 0..3 {
        traffic.flows(20).await?;
        proxy.freeze();
        // The freeze has an effect once a call does not come through.
        let ping = tokio::time::timeout(Duration::from_millis(200), probe.ping()).await;
        assert!(ping.is_err(), "a ping came through: {ping:?}");
        proxy.thaw();
    }
    traffic.flows(20).await?;
    traffic.balance().await?;
    probe.close().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn half_open_server_does_not_hold_up_failover(stage: &Stage) -> Outcome {
    let (frozen, first) = stage.proxy().await?;
    frozen.freeze();
    let urls = format!("{first};{}", stage.url());
    let begun = Instant::now();
    let connection =
        stage.builder_for(urls).connect_timeout(Duration::from_secs(1)).connect().await?;
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    connection.declare_queue(&stage.queue("work")).await?;
    Ok(connection.close().await?)
}

async fn failover_goes_to_the_next_broker(stage: &Stage) -> Outcome {
    let (one, first) = stage.proxy().await?;
    let (two, second) = stage.proxy().await?;
    let (from, to) = pair(stage, &format!("{first};{second}")).await?;
    let traffic = Traffic::start(stage, &from, &to, &stage.queue("work")).await?;
    traffic.flows(20).await?;
    one.refuse().await;
    traffic.flows(20).await?;
    one.restore().await;
    two.refuse().await;
    traffic.flows(20).await?;
    two.restore().await;
    traffic.balance().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn publish_has_a_deadline(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?.timeout(Duration::from_secs(1));
    producer.publish(&0).to_queue(&queue).await?;
    proxy.freeze();
    let begun = Instant::now();
    let publish = producer.publish(&1).to_queue(&queue);
    let error =
        refused(wait::soon("a publish", publish.into_future()).await?, &[ErrorKind::Timeout])?;
    assert!(begun.elapsed() < Duration::from_secs(4), "it took {:?}", begun.elapsed());
    assert!(error.to_string().contains("publish"), "it does not say what timed out: {error}");
    proxy.thaw();
    // What timed out may have arrived; what comes now does.
    producer.publish(&2).to_queue(&queue).timeout(super::BACK).await?;
    proxy.refuse().await;
    let publish = producer.publish(&3).to_queue(&queue);
    refused(
        wait::soon("a publish without a link", publish.into_future()).await?,
        &[ErrorKind::Timeout, ErrorKind::ConnectionLost],
    )?;
    Ok(())
}

async fn declare_has_a_deadline(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let second = Duration::from_secs(1);
    let connection = stage.builder_for(&url).operation_timeout(second).connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    proxy.freeze();
    let kinds = [ErrorKind::Timeout];
    refused(wait::soon("a declaration", connection.declare_queue(&queue)).await?, &kinds)?;
    refused(wait::soon("a get", connection.get(queue.name())).await?, &kinds)?;
    refused(wait::soon("a ping", connection.ping()).await?, &kinds)?;
    let starting = connection.consumer(&queue).start();
    refused(wait::soon("a consumer's start", starting).await?, &kinds)?;
    proxy.thaw();
    wait::eventually("a declaration to succeed", async || {
        Ok(connection.declare_queue(&queue).await.is_ok())
    })
    .await?;
    Ok(connection.close().await?)
}

async fn acknowledgement_over_a_lost_link_is_stale(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let queue = crate::cases::ack::filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).prefetch(3).start().await?;
    let mut held = hold(&mut consumer, 2).await?;
    proxy.cut();
    until_down(&connection).await?;
    let second = held.pop().expect("two were held");
    // The connection may know before the channel does; then the acknowledgement goes nowhere.
    if let Err(error) = second.ack().await {
        assert_eq!(error.kind(), ErrorKind::StaleDelivery, "{error:?}");
    }
    until_up(&connection).await?;
    for delivery in held {
        refused(delivery.ack().await, &[ErrorKind::StaleDelivery])?;
    }
    // All three come again, the unread one of the lost link included, and only once.
    for _ in 0..3 {
        next_within(super::BACK, &mut consumer).await?.ack().await?;
    }
    consumer.close().await?;
    size_becomes(&connection, queue.name(), 0).await?;
    Ok(connection.close().await?)
}

async fn recovery_that_gives_up_says_so(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage
        .builder_for(&url)
        .recovery(kombu_core::RetryPolicy::once())
        .operation_timeout(Duration::from_secs(2))
        .connect()
        .await?;
    proxy.refuse().await;
    let failed = |state: &kombu_core::ConnectionState| {
        matches!(state, kombu_core::ConnectionState::Failed(_))
    };
    wait::within(super::BACK, "recovery to give up", connection.wait_for_state(failed)).await?;
    let queue = stage.queue("work");
    refused(connection.declare_queue(&queue).await, &[ErrorKind::ConnectionLost])?;
    // A later use tries again.
    proxy.restore().await;
    wait::eventually("the next use to connect", async || {
        Ok(connection.declare_queue(&queue).await.is_ok())
    })
    .await?;
    Ok(connection.close().await?)
}

async fn close_ends_while_there_is_no_link(stage: &Stage) -> Outcome {
    let (proxy, url) = stage.proxy().await?;
    let connection = stage.builder_for(&url).connect().await?;
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    proxy.refuse().await;
    until_down(&connection).await?;
    wait::soon("close", connection.close()).await??;
    let next = wait::soon("the end of the stream", consumer.next()).await?;
    if let Some(next) = next {
        refused(next, &[ErrorKind::Closed, ErrorKind::ConnectionLost])?;
    }
    Ok(())
}
