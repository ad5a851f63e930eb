//! Links that end, in whatever way, and what they held.

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{
    Outcome, PYTHON, Result, fill, next, numbers, say, until, with_options, with_traffic,
};
use kombu_conformance::own_cases;
use kombu_conformance::proxy::Proxy;
use kombu_core::{BrokerUrl, Consumer, Delivery, ErrorKind, Exchange, RetryPolicy};

use crate::ground::{CONTROL, builder, connect, daemon, proxy, queue, until_link, url};
use crate::own::Daemon;

own_cases! {
    beside a_closed_connection_gives_back_what_it_holds [];
    beside a_dropped_connection_gives_back_what_it_holds [];
    beside what_a_lost_link_held_goes_back_before_anything_is_taken [];
    beside a_message_that_comes_when_its_link_is_given_up_goes_back [PYTHON];
    beside a_killed_consumer_takes_along_what_it_holds [];
    alone a_frozen_daemon_loses_nothing [CONTROL];
    alone what_is_held_outlives_the_daemon_and_what_waits_does_not [CONTROL];
    alone exchanges_are_declared_again_at_a_daemon_that_knows_nothing [CONTROL];
    alone consumers_wait_for_a_daemon_that_is_away [CONTROL];
    beside only_connecting_needs_the_name_server [];
}

/// The next deliveries, which are not settled.
async fn hold(consumer: &mut Consumer, count: usize) -> Result<Vec<Delivery>> {
    let mut held = Vec::new();
    while held.len() < count {
        held.push(next(consumer).await?);
    }
    Ok(held)
}

/// The next numbers, and whether each is marked as redelivered; they are acknowledged.
async fn marked(consumer: &mut Consumer, count: usize) -> Result<Vec<(u64, bool)>> {
    let mut came = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await?;
        came.push((delivery.decode()?, delivery.is_redelivered()));
        delivery.ack_confirmed().await?;
    }
    Ok(came)
}

async fn only_connecting_needs_the_name_server() -> Outcome {
    let parsed = BrokerUrl::parse(&url(""))?;
    let (host, port) = (parsed.host().unwrap_or("127.0.0.1"), parsed.port().unwrap_or(9090));
    let names = Proxy::start(host, port).await?;
    let here = format!("{host}:{port}");
    let through = url("").replacen(&here, &format!("127.0.0.1:{}", names.port()), 1);
    assert_ne!(through, url(""), "{here} is not in the URL");
    let connection = builder(&through).connect().await?;
    let queue = queue("names");
    let mut consumer = connection.consumer(&queue).start().await?;
    names.refuse().await;
    fill(&connection, &queue, 0..3).await?;
    assert_eq!(numbers(&mut consumer, 3).await?, [0, 1, 2]);
    let once = || builder(&through).retry(RetryPolicy::once());
    let text = once().connect().await.expect_err("nobody says where the broker is").to_string();
    assert!(text.contains("name_server=127.0.0.1:"), "{text}");
    names.restore().await;
    once().connect().await?.close().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn a_closed_connection_gives_back_what_it_holds() -> Outcome {
    let connection = connect().await?;
    let queue = queue("closed");
    fill(&connection, &queue, 0..10).await?;
    let closing = connect().await?;
    let mut consumer = closing.consumer(&queue).prefetch(5).start().await?;
    let held = hold(&mut consumer, 3).await?;
    closing.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 10);
    drop((held, consumer));
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = marked(&mut consumer, 10).await?;
    came.sort_unstable();
    // What the program had not asked for yet was on its way to it, too.
    let expected: Vec<_> = (0..10).map(|number| (number, number < 5)).collect();
    assert_eq!(came, expected);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn a_dropped_connection_gives_back_what_it_holds() -> Outcome {
    let connection = connect().await?;
    let queue = queue("dropped");
    fill(&connection, &queue, 0..4).await?;
    let dropped = connect().await?;
    let mut consumer = dropped.consumer(&queue).start().await?;
    let held = hold(&mut consumer, 2).await?;
    drop((dropped, consumer, held));
    until("all to wait again", async || connection.size(queue.name()).await.is_ok_and(|n| n == 4))
        .await;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn what_a_lost_link_held_goes_back_before_anything_is_taken() -> Outcome {
    let (proxy, through) = proxy("").await?;
    let connection = builder(&through).connect().await?;
    let queue = queue("cut");
    fill(&connection, &queue, 0..10).await?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let held = hold(&mut consumer, 4).await?;
    // The fifth is on its way to the program, or there.
    until("five to be taken", async || connection.size(queue.name()).await.is_ok_and(|n| n == 5))
        .await;
    proxy.refuse().await;
    until_link(&connection, false).await?;
    // Meanwhile they wait nowhere but here.
    assert_eq!(connect().await?.size(queue.name()).await?, 5);
    proxy.restore().await;
    until_link(&connection, true).await?;
    for delivery in held {
        let error = delivery.ack_confirmed().await.expect_err("its link is gone");
        assert_eq!(error.kind(), ErrorKind::StaleDelivery, "{error:?}");
    }
    let came = marked(&mut consumer, 10).await?;
    let behind: Vec<_> = (5..10).map(|number| (number, false)).collect();
    let back: Vec<_> = (0..5).map(|number| (number, true)).collect();
    assert_eq!(came, [behind, back].concat());
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// It is out of its queue already, and on its way.
async fn a_message_that_comes_when_its_link_is_given_up_goes_back() -> Outcome {
    let slow = Daemon::start(&[("FIRST_GET_TAKES", "5")], None).await?;
    let connection = builder(&with_options(&slow.url, "heartbeat=1")).connect().await?;
    let queue = queue("late");
    connection.producer().await?.publish(&7).to_queue(&queue).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    until_link(&connection, false).await?;
    until_link(&connection, true).await?;
    assert_eq!(marked(&mut consumer, 1).await?, [(7, true)]);
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

/// The daemon keeps no acknowledgements: this is why `at_least_once` is not promised.
async fn a_killed_consumer_takes_along_what_it_holds() -> Outcome {
    let connection = connect().await?;
    let queue = queue("killed");
    fill(&connection, &queue, 0..10).await?;
    let mut doomed = Process::start(&url(""), queue.name(), Work::Hold { prefetch: 3 })?;
    doomed.has_said(3).await?;
    doomed.kill().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(numbers(&mut consumer, 7).await?, (3..10).collect::<Vec<_>>());
    consumer.close().await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// What was asked for when the link was given up is answered once the daemon goes on, and goes
/// back.
async fn a_frozen_daemon_loses_nothing() -> Outcome {
    let impatient = url("heartbeat=1");
    let (from, to) = (builder(&impatient).connect().await?, builder(&impatient).connect().await?);
    let (publishing, consuming) = (from.clone(), to.clone());
    with_traffic(&from, &to, &queue("frozen"), async |traffic| {
        for _ in 0..3 {
            daemon("pause").await?;
            until_link(&publishing, false).await?;
            until_link(&consuming, false).await?;
            daemon("resume").await?;
            traffic.flows(200).await;
        }
        Ok(())
    })
    .await
}

async fn what_is_held_outlives_the_daemon_and_what_waits_does_not() -> Outcome {
    let connection = connect().await?;
    let queue = queue("restarted");
    fill(&connection, &queue, 0..10).await?;
    let mut consumer = connection.consumer(&queue).prefetch(3).start().await?;
    let held = hold(&mut consumer, 3).await?;
    daemon("restart").await?;
    until("the queue to be there again", async || {
        connection.size(queue.name()).await.is_ok_and(|size| size == 0)
    })
    .await;
    connection.producer().await?.publish(&100).to_queue(&queue).await?;
    assert_eq!(marked(&mut consumer, 4).await?, [(0, true), (1, true), (2, true), (100, false)]);
    drop(held);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn exchanges_are_declared_again_at_a_daemon_that_knows_nothing() -> Outcome {
    let connection = connect().await?;
    let exchange = Exchange::topic(queue("topics").name());
    let bound = queue("bound").bind(&exchange, "news.#");
    let mut consumer = connection.consumer(&bound).start().await?;
    let other = connect().await?;
    let producer = other.producer().await?;
    // It declares nothing: the daemon knows where this goes.
    producer.publish(&1).to(exchange.name(), "news.today").await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [1]);
    daemon("crash").await?;
    until("the binding to be there again", async || {
        producer.publish(&2).to(exchange.name(), "news").mandatory(true).await.is_ok()
    })
    .await;
    assert_eq!(numbers(&mut consumer, 1).await?, [2]);
    consumer.close().await?;
    connection.delete_queue(bound.name()).await?;
    other.close().await?;
    Ok(connection.close().await?)
}

async fn consumers_wait_for_a_daemon_that_is_away() -> Outcome {
    let connection = connect().await?;
    let queue = queue("away");
    let mut consumer = connection.consumer(&queue).start().await?;
    let patient = connection.producer().await?;
    let producer = connection.producer().await?.retry(false);
    daemon("kill").await?;
    until_link(&connection, false).await?;
    let begun = tokio::time::Instant::now();
    let publish = producer.publish(&1).to_queue(&queue);
    let error =
        publish.timeout(std::time::Duration::from_secs(2)).await.expect_err("nobody is there");
    assert!(error.is_recoverable(), "{error:?}");
    say(format_args!("publishing to nobody took {:?}: {error}", begun.elapsed()));
    daemon("start").await?;
    patient.publish(&2).to_queue(&queue).await?;
    let mut came = numbers(&mut consumer, 1).await?;
    // What failed may have been sent with the next link.
    if came == [1] {
        came = numbers(&mut consumer, 1).await?;
    }
    assert_eq!(came, [2]);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
