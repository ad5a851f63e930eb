//! How many sockets a connection has, and how soon it hears.

use kombu_conformance::kit::{Outcome, next, until};
use kombu_conformance::own_cases;
use kombu_core::{Connection, Exchange, Queue, RetryPolicy};
use kombu_transport_redis::RedisTransport;
use tokio::time::{Duration, Instant};

use crate::ground::{URL, builder_for, connect, prefix, url};
use crate::raw::Raw;

own_cases! {
    beside a_waiting_consumer_hears_of_every_priority_at_once [];
    beside a_server_that_asks_for_certificates_gets_one ["KOMBU_TEST_REDIS_TLS_URL"];
    beside one_socket_does_it_all [];
    beside one_socket_behind_sentinels_does_it_all ["KOMBU_TEST_REDIS_SENTINEL_URL"];
    beside one_socket_for_each_node_of_a_cluster_does_it_all ["KOMBU_TEST_REDIS_CLUSTER_URL"];
}

async fn a_waiting_consumer_hears_of_every_priority_at_once() -> Outcome {
    let prefix = prefix("wake");
    let connection = connect(&prefix, "").await?;
    let other = connect(&prefix, "").await?;
    let queues = ["a", "b", "c"].map(Queue::new);
    let mut consumer = connection.consumer(queues.clone()).start().await?;
    let producer = other.producer().await?;
    let mut slowest = Duration::ZERO;
    for round in 0..10_u8 {
        for queue in &queues {
            let begun = Instant::now();
            producer.publish(&round).to_queue(queue).priority(round).await?;
            next(&mut consumer).await?.ack_confirmed().await?;
            slowest = slowest.max(begun.elapsed());
        }
    }
    // Without a notice it would be looked at once a second.
    assert!(slowest < Duration::from_millis(700), "the slowest took {slowest:?}");
    for queue in &queues {
        connection.delete_queue(queue.name()).await?;
    }
    other.close().await?;
    Ok(connection.close().await?)
}

async fn a_server_that_asks_for_certificates_gets_one() -> Outcome {
    let with = url("KOMBU_TEST_REDIS_TLS_URL", "");
    let (without, _) = with.split_once("&ssl_certfile=").ok_or("the URL has no certificate")?;
    let connect = async |url: &str| {
        let builder = Connection::builder(url).transport(RedisTransport::new());
        builder.retry(RetryPolicy::once()).connect().await
    };
    let refused = connect(without).await.expect_err("nobody is let in without a certificate");
    let text = refused.to_string();
    assert!(text.contains("CertificateRequired") && !text.contains("alicepw"), "{text}");
    let connection = connect(&with).await?;
    connection.ping().await?;
    Ok(connection.close().await?)
}

async fn one_socket_does_it_all() -> Outcome {
    let mut raw = Raw::connect(URL).await?;
    sockets(URL, &mut [&mut raw]).await
}

async fn one_socket_behind_sentinels_does_it_all() -> Outcome {
    let mut sentinel = Raw::connect("KOMBU_TEST_REDIS_SENTINEL_URL").await?;
    let address = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).await?;
    let port = address.last().ok_or("no master")?.parse()?;
    let mut raw = Raw::to("127.0.0.1", port).await?;
    sockets("KOMBU_TEST_REDIS_SENTINEL_URL", &mut [&mut raw]).await?;
    // Sentinels are asked and left: only the one that asks here is without a name.
    until("the sentinel to be left", async || {
        sentinel.clients("").await.is_ok_and(|nameless| nameless.len() == 1)
    })
    .await;
    Ok(())
}

async fn one_socket_for_each_node_of_a_cluster_does_it_all() -> Outcome {
    let url = kombu_core::BrokerUrl::parse(&url("KOMBU_TEST_REDIS_CLUSTER_URL", ""))?;
    let mut nodes = Vec::new();
    for host in url.hosts() {
        nodes.push(Raw::to(host.name(), host.port().unwrap_or(6379)).await?);
    }
    sockets("KOMBU_TEST_REDIS_CLUSTER_URL", &mut nodes.iter_mut().collect::<Vec<_>>()).await
}

/// Publishes, consumes and subscribes on one connection, and counts its clients at each server.
async fn sockets(name: &str, servers: &mut [&mut Raw]) -> Outcome {
    let prefix = prefix("socket");
    let connection = builder_for(name, &prefix, "").connect().await?;
    let news = Exchange::fanout("news");
    let queues = ["a", "b", "c"].map(Queue::new);
    let listening = Queue::new("listening").bind(&news, "");
    let mut consumer = connection
        .consumer(queues.iter().chain([&listening]).cloned().collect::<Vec<_>>())
        .start()
        .await?;
    let producer = connection.producer().await?;
    for queue in &queues {
        producer.publish(&1).to_queue(queue).await?;
    }
    producer.publish(&2).to(&news, "").await?;
    for _ in 0..4 {
        next(&mut consumer).await?.ack_confirmed().await?;
    }
    for server in servers {
        assert_eq!(server.clients(&prefix).await?.len(), 1);
    }
    for queue in queues.iter().chain([&listening]) {
        connection.delete_queue(queue.name()).await?;
    }
    consumer.close().await?;
    Ok(connection.close().await?)
}
