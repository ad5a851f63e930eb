//! What only Redis shows: records, leases, sockets. On the server that `KOMBU_TEST_REDIS_URL` names.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use kombu_core::{Connection, Consumer, Delivery, Queue, Result};
use kombu_transport_redis::RedisTransport;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::time::{Instant, sleep_until, timeout};

fn main() -> ExitCode {
    let cases: [(&'static str, Case); 4] = [
        ("a_handler_may_outlive_the_visibility_timeout", || {
            Box::pin(a_handler_may_outlive_the_visibility_timeout())
        }),
        ("a_killed_consumer_loses_nothing", || Box::pin(a_killed_consumer_loses_nothing())),
        ("a_waiting_consumer_hears_of_every_priority_at_once", || {
            Box::pin(a_waiting_consumer_hears_of_every_priority_at_once())
        }),
        ("one_socket_does_it_all", || Box::pin(one_socket_does_it_all())),
    ];
    let trials = cases.into_iter().map(|(name, case)| {
        Trial::ignorable_test(name, move || {
            if url("").is_none() {
                let required = env::var("KOMBU_REQUIRE_BROKERS").is_ok_and(|value| value == "1");
                return match required {
                    true => Err(Failed::from("KOMBU_TEST_REDIS_URL is not set")),
                    false => Ok(Completion::ignored_with("KOMBU_TEST_REDIS_URL is not set")),
                };
            }
            let runtime = tokio::runtime::Runtime::new()?;
            runtime.block_on(case())?;
            Ok(Completion::Completed)
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

type Case = fn() -> std::pin::Pin<Box<dyn Future<Output = Result<()>>>>;

/// The server's URL with options.
fn url(options: &str) -> Option<String> {
    let url = env::var("KOMBU_TEST_REDIS_URL").ok().filter(|url| !url.is_empty())?;
    let separator = if url.contains('?') { '&' } else { '?' };
    Some(if options.is_empty() { url } else { format!("{url}{separator}{options}") })
}

/// A connection of a transport of its own, so that no other knows what it leaves. All keys have a
/// prefix.
async fn connect(prefix: &str, more: &str) -> Result<Connection> {
    let url = url(&format!("global_keyprefix={prefix}{more}")).unwrap_or_default();
    Connection::builder(url).transport(RedisTransport::new()).client_name(prefix).connect().await
}

fn prefix(name: &str) -> String {
    format!("kr-{name}-{}-", std::process::id())
}

async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let next = timeout(Duration::from_secs(20), consumer.next()).await;
    next.expect("a message within 20 s").expect("the consumer's stream goes on")
}

async fn a_handler_may_outlive_the_visibility_timeout() -> Result<()> {
    let prefix = prefix("lease");
    let connection = connect(&prefix, "&visibility_timeout=1").await?;
    let other = connect(&prefix, "&visibility_timeout=1").await?;
    let queue = Queue::new("q");
    connection.producer().await?.publish(&1).to_queue(&queue).await?;
    let mut one = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut one).await?;
    // Two who look for abandoned messages, for three times the timeout.
    let mut two = other.consumer(&queue).prefetch(1).start().await?;
    let end = Instant::now() + Duration::from_secs(4);
    tokio::select! {
        _ = two.next() => panic!("a message that is held came to another consumer"),
        _ = one.next() => panic!("a message that is held came again"),
        () = sleep_until(end) => {}
    }
    held.ack_confirmed().await?;
    assert_eq!(connection.size("q").await?, 0);
    connection.delete_queue("q").await?;
    other.close().await?;
    connection.close().await
}

async fn a_killed_consumer_loses_nothing() -> Result<()> {
    let prefix = prefix("killed");
    let queue = Queue::new("q");
    let publisher = connect(&prefix, "&visibility_timeout=1").await?;
    let producer = publisher.producer().await?;
    let batch = (0..100).map(|id| producer.publish(&id).to_queue(&queue));
    producer.publish_batch(batch).await.into_iter().collect::<Result<Vec<_>>>()?;
    // A process that is killed closes nothing: its runtime is gone with all tasks.
    let name = prefix.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let doomed = connect(&name, "&visibility_timeout=1").await.expect("a connection");
            let queue = Queue::new("q");
            let consumer = doomed.consumer(&queue).prefetch(100).start().await;
            let mut consumer = consumer.expect("a consumer");
            let mut held = Vec::new();
            while held.len() < 100 {
                held.push(next(&mut consumer).await.expect("a delivery"));
            }
            std::mem::forget((doomed, consumer, held));
        });
        runtime.shutdown_background();
    })
    .join()
    .expect("the doomed consumer holds its messages");
    let mut consumer = publisher.consumer(&queue).start().await?;
    let mut came = Vec::new();
    for _ in 0..100 {
        let delivery = next(&mut consumer).await?;
        assert!(delivery.is_redelivered());
        came.push(delivery.decode::<u32>()?);
        delivery.ack_confirmed().await?;
    }
    assert_eq!(came, (0..100).collect::<Vec<_>>(), "they come back in order");
    publisher.delete_queue("q").await?;
    publisher.close().await
}

async fn a_waiting_consumer_hears_of_every_priority_at_once() -> Result<()> {
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
    connection.close().await
}

async fn one_socket_does_it_all() -> Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let prefix = prefix("socket");
    let connection = connect(&prefix, "").await?;
    let news = kombu_core::Exchange::fanout("news");
    let queues = [Queue::new("a"), Queue::new("b").bind(&news, "")];
    let mut consumer = connection.consumer(queues.clone()).start().await?;
    let producer = connection.producer().await?;
    producer.publish(&1).to_queue(&queues[0]).await?;
    producer.publish(&2).to(&news, "").await?;
    for _ in 0..2 {
        next(&mut consumer).await?.ack_confirmed().await?;
    }
    let url = kombu_core::BrokerUrl::parse(&url("").unwrap_or_default())?;
    let address = (url.host().unwrap_or("127.0.0.1"), url.port().unwrap_or(6379));
    let mut server = tokio::net::TcpStream::connect(address).await.expect("the server answers");
    server.write_all(b"CLIENT LIST\r\nQUIT\r\n").await.expect("the server listens");
    let mut list = String::new();
    server.read_to_string(&mut list).await.expect("the server answers");
    let own: Vec<_> =
        list.lines().filter(|line| line.contains(&format!("name={prefix}"))).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    connection.delete_queue("a").await?;
    connection.delete_queue("b").await?;
    consumer.close().await?;
    connection.close().await
}
