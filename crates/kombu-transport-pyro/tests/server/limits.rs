//! What is too large or cannot be written, and daemons that are configured in another way.

use kombu_conformance::kit::{Outcome, PYTHON, fill, next, numbers};
use kombu_conformance::own_cases;
use kombu_core::{Connection, ErrorKind, Exchange, Queue, Table};

use crate::ground::{builder, connect, queue, url};
use crate::own::Daemon;

own_cases! {
    beside a_message_over_the_limit_is_refused_and_half_written_nowhere [];
    beside a_daemon_with_a_smaller_limit_is_named [PYTHON];
    beside a_daemon_may_compress [PYTHON];
    beside a_daemon_may_have_a_unix_socket [PYTHON];
    beside a_header_that_names_a_class_is_refused [];
    beside a_long_queue_is_emptied [];
    beside names_of_exchanges_are_no_queues [];
}

async fn a_message_over_the_limit_is_refused_and_half_written_nowhere() -> Outcome {
    let connection = builder(&url("max_message_size=100000")).connect().await?;
    let exchange = Exchange::fanout(queue("news").name());
    // With the longer name it is too large; with the shorter one it would not be.
    let short = queue("short").bind(&exchange, "");
    let long = Queue::new(format!("{}{}", queue("long").name(), "x".repeat(10_000)));
    let long = long.bind(&exchange, "");
    for queue in [&short, &long] {
        connection.declare_queue(queue).await?;
    }
    let producer = connection.producer().await?;
    let body = "x".repeat(60_000);
    let error = producer.publish(&body).to(&exchange, "").await.expect_err("it is too large");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains("max_message_size"), "{error}");
    assert_eq!(connection.size(short.name()).await?, 0);
    producer.publish(&body).to("", short.name()).await?;
    let mut consumer = connection.consumer(&short).start().await?;
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.decode::<String>()?, body);
    delivery.ack().await?;
    consumer.close().await?;
    for queue in [&short, &long] {
        connection.delete_queue(queue.name()).await?;
    }
    Ok(connection.close().await?)
}

/// Sends and receives a text of some length over a connection.
async fn exchange_text(connection: &Connection, length: usize) -> Outcome {
    let queue = queue("text");
    let text = "ä".repeat(length / 2);
    connection.producer().await?.publish(&text).to_queue(&queue).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.decode::<String>()?, text);
    delivery.ack_confirmed().await?;
    Ok(consumer.close().await?)
}

async fn a_daemon_with_a_smaller_limit_is_named() -> Outcome {
    let daemon = Daemon::start(&[("PYRO_MAX_MESSAGE_SIZE", "100000")], None).await?;
    let connection = builder(&daemon.url).connect().await?;
    exchange_text(&connection, 10_000).await?;
    let producer = connection.producer().await?.retry(false);
    let large = "x".repeat(1 << 20);
    let queue = queue("large");
    let error = producer.publish(&large).to_queue(&queue).await.expect_err("it is too large");
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("MAX_MESSAGE_SIZE"), "{shown}");
    // The link is made again, and nothing of the message came.
    exchange_text(&connection, 10_000).await?;
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn a_daemon_may_compress() -> Outcome {
    let daemon = Daemon::start(&[("PYRO_COMPRESSION", "1")], None).await?;
    let connection = builder(&daemon.url).connect().await?;
    exchange_text(&connection, 100_000).await?;
    Ok(connection.close().await?)
}

async fn a_daemon_may_have_a_unix_socket() -> Outcome {
    let path = std::env::temp_dir().join(format!("{}.sock", queue("socket").name()));
    let daemon = Daemon::start(&[], path.to_str()).await?;
    let connection = builder(&daemon.url).connect().await?;
    exchange_text(&connection, 1000).await?;
    connection.close().await?;
    Ok(std::fs::remove_file(path)?)
}

async fn a_header_that_names_a_class_is_refused() -> Outcome {
    let connection = connect().await?;
    let queue = queue("class");
    let producer = connection.producer().await?;
    let inner = Table::new().with("__class__", "Pyro4.core.Proxy");
    let publish = producer.publish(&1).to_queue(&queue).header("inner", inner);
    let error = publish.await.expect_err("Pyro would make an object of it");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(error.to_string().contains("__class__"), "{error}");
    producer.publish(&2).to_queue(&queue).header("inner", "__class__").await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [2]);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn a_long_queue_is_emptied() -> Outcome {
    let connection = connect().await?;
    let queue = queue("long");
    fill(&connection, &queue, 0..1234).await?;
    assert_eq!(connection.purge(queue.name()).await?, 1234);
    assert_eq!(connection.purge(queue.name()).await?, 0);
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn names_of_exchanges_are_no_queues() -> Outcome {
    let connection = connect().await?;
    let queue = Queue::new("_kombu.exchange:[\"a\",\"{}\"]");
    for refused in [
        connection.declare_queue(&queue).await.map(drop),
        connection.producer().await?.publish(&1).to("", queue.name()).await,
    ] {
        let error = refused.expect_err("the name is that of an exchange");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    }
    Ok(connection.close().await?)
}
