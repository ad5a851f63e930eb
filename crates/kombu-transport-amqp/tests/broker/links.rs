//! Links that freeze, break or are blocked, and what that means for calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kombu_core::transport::{Outcome, Publish, RawChannel, RawConnection, Settle};
use kombu_core::{ErrorKind, Exchange, Queue, Scope};

use crate::cases;
use crate::proxy::Proxy;
use crate::stage::{
    Case, Stage, connect, consume, get, message, publish, soon, take, to_queue, until, variable,
};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        heartbeats_of_a_second_keep_an_idle_connection,
        heartbeats_of_zero_are_the_brokers,
        a_frozen_link_is_noticed_within_two_heartbeats,
        a_frozen_link_that_publishes_is_noticed_within_two_heartbeats,
        a_cut_link_ends_the_connection_and_all_calls,
        a_ping_to_a_frozen_broker_has_a_deadline,
        an_unknown_exchange_type_costs_no_connection,
        a_dropped_connection_gives_everything_back,
        a_blocked_broker_is_named alone ("CONTROL"),
        a_closed_connection_says_why alone ("CONTROL"),
    ]
}

async fn heartbeats_of_a_second_keep_an_idle_connection(stage: Stage) {
    for driver in ["auto", "lapin"] {
        let connection = stage.connect_with(&[("heartbeat", "1"), ("driver", driver)]).await;
        let channel = connection.open_channel().await.unwrap();
        let queue = stage.queue(&channel).await;
        publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
        let idle = tokio::time::timeout(Duration::from_secs(5), connection.lost()).await;
        assert!(idle.is_err(), "{driver}: {:?}", idle.ok());
        publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
        connection.close().await.unwrap();
    }
}

async fn heartbeats_of_zero_are_the_brokers(stage: Stage) {
    let connection = stage.connect_with(&[("heartbeat", "0")]).await;
    let channel = connection.open_channel().await.unwrap();
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    let idle = tokio::time::timeout(Duration::from_secs(3), connection.lost()).await;
    assert!(idle.is_err(), "{:?}", idle.ok());
    connection.close().await.unwrap();
}

/// A connection through a proxy, whose two links are both in use.
async fn through_proxy(
    stage: &Stage,
    proxy: &Proxy,
    options: &[(&str, &str)],
) -> (Arc<dyn RawConnection>, Arc<dyn RawChannel>, String) {
    let connection = connect(&proxy.url, options).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    assert_eq!(proxy.count(), 2);
    (connection, channel, queue)
}

/// Freezes one of two links, and waits for the end of the connection.
async fn freeze(stage: &Stage, number: usize, driver: &str) {
    let proxy = Proxy::start().await;
    let options = [("heartbeat", "2"), ("driver", driver)];
    let (connection, channel, _) = through_proxy(stage, &proxy, &options).await;
    proxy.freeze(number);
    let start = Instant::now();
    let reason = soon(connection.lost()).await;
    let elapsed = start.elapsed();
    assert_eq!((reason.kind(), reason.scope()), (ErrorKind::ConnectionLost, Scope::Connection));
    assert!(elapsed > Duration::from_secs(2), "{driver}: {elapsed:?}");
    // The last sign of life was up to a heartbeat ago; half a heartbeat is between two looks.
    assert!(elapsed < Duration::from_millis(5_800), "{driver}: {elapsed:?}");
    let error = soon(channel.declare_queue(&Queue::new("q"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    soon(connection.close()).await.unwrap();
}

async fn a_frozen_link_is_noticed_within_two_heartbeats(stage: Stage) {
    freeze(&stage, 0, "auto").await;
}

async fn a_frozen_link_that_publishes_is_noticed_within_two_heartbeats(stage: Stage) {
    freeze(&stage, 1, "auto").await;
    freeze(&stage, 1, "lapin").await;
}

async fn a_cut_link_ends_the_connection_and_all_calls(stage: Stage) {
    for driver in ["auto", "lapin"] {
        for number in [0, 1] {
            let proxy = Proxy::start().await;
            let (connection, channel, queue) =
                through_proxy(&stage, &proxy, &[("driver", driver)]).await;
            let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
            let held = take(&mut inbox, 1).await.remove(0);
            // In flight for ever.
            proxy.freeze(number);
            let confirm = channel.publish(to_queue(&queue, message("y"))).await.unwrap();
            let calls = (0..5).map(|_| {
                let (channel, queue) = (Arc::clone(&channel), queue.clone());
                tokio::spawn(async move { channel.purge(&queue).await })
            });
            let calls: Vec<_> = calls.collect();
            proxy.cut(number);
            let reason = soon(connection.lost()).await;
            assert_eq!(reason.kind(), ErrorKind::ConnectionLost, "{driver} {number}: {reason}");
            assert_eq!(soon(channel.lost()).await.scope(), Scope::Connection);
            let _any_answer = soon(confirm).await;
            for call in soon(join_all(calls)).await {
                let answer = call.unwrap();
                // The other link carries publishes only, so the broker may have answered on this one.
                assert!(number == 1 || answer.is_err(), "{driver}: {answer:?}");
            }
            let error = channel.settle(Settle::one(held.tag, Outcome::Ack)).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StaleDelivery);
            let error =
                channel.publish(to_queue(&queue, message("z"))).await.map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
            assert!(error.is_recoverable());
        }
    }
}

async fn a_ping_to_a_frozen_broker_has_a_deadline(stage: Stage) {
    let proxy = Proxy::start().await;
    let options = [("connect_timeout", "1")];
    let (connection, _channel, _) = through_proxy(&stage, &proxy, &options).await;
    connection.ping().await.unwrap();
    proxy.freeze(0);
    let error = soon(connection.ping()).await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::ConnectionLost, Scope::Connection));
    assert_eq!(soon(connection.lost()).await.kind(), ErrorKind::ConnectionLost);
}

async fn an_unknown_exchange_type_costs_no_connection(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let exchange = Exchange::new(stage.name("x"), "x-nosuch");
    let error = channel.declare_exchange(&exchange).await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::Unsupported, Scope::Local), "{error}");
    assert!(error.to_string().contains("x-nosuch"), "{error}");
    stage.queue(&channel).await;
    connection.close().await.unwrap();
}

async fn a_dropped_connection_gives_everything_back(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    let mut inbox = consume(&channel, &queue, "c", |_| {}).await;
    take(&mut inbox, 1).await;
    drop((inbox, channel, connection));
    let (_connection, channel) = stage.channel().await;
    let again = get(&channel, &queue).await;
    assert!(again.redelivered);
}

async fn a_blocked_broker_is_named(stage: Stage) {
    let mut held = Vec::new();
    for driver in ["auto", "lapin"] {
        let connection = stage.connect_with(&[("driver", driver)]).await;
        let channel = connection.open_channel().await.unwrap();
        let queue = stage.queue(&channel).await;
        publish(&channel, to_queue(&queue, message("before"))).await.unwrap();
        held.push((connection, channel, queue));
    }
    control("set-alarm").await;
    let blocked = async {
        for (connection, channel, queue) in &held {
            let waiting = channel.publish(to_queue(queue, message("waits"))).await.unwrap();
            until("the alarm is known", async || {
                match channel.publish(to_queue(queue, message("refused"))).await {
                    Err(error) if error.kind() == ErrorKind::Blocked => {
                        assert!(error.to_string().contains("memory"), "{error}");
                        assert!(error.is_recoverable());
                        true
                    }
                    _ => false,
                }
            })
            .await;
            // Consuming goes on.
            connection.ping().await.unwrap();
            let delivery = get(channel, queue).await;
            let acked = channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap();
            soon(acked).await.unwrap();
            drop(waiting);
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), blocked).await;
    control("clear-alarm").await;
    outcome.expect("in time");
    for (connection, channel, queue) in &held {
        until("the end of the alarm is known", async || {
            publish(channel, to_queue(queue, message("after"))).await.is_ok()
        })
        .await;
        connection.close().await.unwrap();
    }
}

async fn a_closed_connection_says_why(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    control("drop-connections").await;
    let reason = soon(connection.lost()).await;
    assert_eq!(reason.kind(), ErrorKind::ConnectionLost, "{reason}");
    assert!(reason.to_string().contains("CONNECTION_FORCED"), "{reason}");
    assert!(reason.is_recoverable());
    let error = publish(&channel, Arc::new(Publish::new("", &queue, message("y")))).await;
    assert!(error.unwrap_err().is_recoverable());
}

/// Does something to the broker.
async fn control(action: &str) {
    let command = variable("CONTROL");
    let mut words = command.split_whitespace();
    let mut command = tokio::process::Command::new(words.next().expect("a program"));
    let status = command.args(words).arg(action).status().await.expect("the control runs");
    assert!(status.success(), "{action}: {status}");
}
