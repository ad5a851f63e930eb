//! The handles whose calls block.

use std::sync::mpsc;
use std::thread;

use kombu_core::blocking::Connection;
use kombu_core::{ErrorKind, Exchange, Queue, Result, RetryPolicy};
use kombu_transport_memory::MemoryTransport;

use super::{LIMIT, SOON, builder};

fn connect() -> Result<Connection> {
    Connection::connect(builder())
}

/// All that the facade has, from wherever it is called.
fn use_all() -> Result<()> {
    let connection = connect()?;
    let media = Exchange::direct("media");
    let videos = Queue::new("video").bind(&media, "video");
    connection.declare_exchange(&media)?;
    assert_eq!(connection.declare_queue(&videos)?.name, "video");
    let producer = connection.producer()?.with(|producer| producer.serializer("json"));
    for number in 0..3 {
        producer.publish(&number, |message| message.to(&media, "video").header("n", number))?;
    }
    assert_eq!(connection.size("video")?, 3);
    let first = connection.get("video")?.unwrap();
    assert_eq!(first.decode::<i32>()?, 0);
    first.ack_confirmed()?;

    let mut consumer = connection.consume_with(&videos, |consumer| consumer.prefetch(10))?;
    for (number, delivery) in (1..=2).zip(consumer.by_ref()) {
        let delivery = delivery?;
        assert_eq!((delivery.decode::<i32>()?, delivery.queue()), (number, "video"));
        if number == 1 { delivery.ack()? } else { delivery.requeue()? }
    }
    consumer.next_within(LIMIT)?.unwrap().reject()?;
    assert!(consumer.next_within(SOON)?.is_none());
    consumer.close()?;

    let batch = producer.publish_batch(|producer| {
        (0..100).map(|number| producer.publish(&number).to("", "video")).collect::<Vec<_>>()
    });
    batch.into_iter().collect::<Result<()>>()?;
    assert_eq!(connection.purge("video")?, 100);
    connection.ping()?;
    assert_eq!(connection.delete_queue("video")?, 0);
    assert_eq!(connection.size("video").unwrap_err().kind(), ErrorKind::NotFound);
    connection.close()?;
    connection.close()?;
    assert_eq!(connection.size("video").unwrap_err().kind(), ErrorKind::Closed);
    Ok(())
}

#[test]
fn everything_works_without_a_runtime() -> Result<()> {
    use_all()
}

#[tokio::test]
async fn everything_works_inside_of_a_runtime_of_one_thread() -> Result<()> {
    use_all()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_inside_of_a_runtime_of_many_threads() -> Result<()> {
    use_all()?;
    tokio::spawn(async { use_all() }).await.unwrap()?;
    tokio::task::spawn_blocking(use_all).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_another_runtime_does_not_count() -> Result<()> {
    use_all()
}

/// A task has a budget of things that are ready; one that used it up sees nothing ready any more.
#[tokio::test]
async fn a_task_without_budget_left_still_gets_its_answer() -> Result<()> {
    let task = tokio::spawn(async {
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut taken = 0;
        std::future::poll_fn(|context| {
            loop {
                sender.send(()).unwrap();
                if receiver.poll_recv(context).is_pending() {
                    break;
                }
                taken += 1;
            }
            use_all().unwrap();
            std::task::Poll::Ready(())
        })
        .await;
        taken
    });
    assert!(task.await.unwrap() > 0);
    Ok(())
}

#[test]
fn threads_share_a_connection() -> Result<()> {
    let connection = connect()?;
    connection.declare_queue(&Queue::new("q"))?;
    let producer = connection.producer()?;
    thread::scope(|threads| {
        for _ in 0..8 {
            let producer = producer.clone();
            threads.spawn(move || {
                for number in 0..50 {
                    producer.publish(&number, |message| message.to("", "q")).unwrap();
                }
            });
        }
    });
    let mut consumer = connection.consume("q")?;
    for _ in 0..400 {
        consumer.next_within(LIMIT)?.unwrap().ack()?;
    }
    assert!(consumer.next_within(SOON)?.is_none());
    connection.close()
}

#[test]
fn closing_ends_an_iterator_that_waits_in_another_thread() -> Result<()> {
    let connection = connect()?;
    let consumer = connection.consume("q")?;
    let (ended, end) = mpsc::channel();
    thread::spawn(move || ended.send(consumer.count()));
    connection.close()?;
    assert_eq!(end.recv_timeout(LIMIT), Ok(0));
    Ok(())
}

#[test]
fn what_is_dropped_gives_its_messages_back() -> Result<()> {
    let memory = MemoryTransport::new();
    let builder = || kombu_core::Connection::builder("memory://").transport(memory.clone());
    let watcher = Connection::connect(builder())?;
    watcher.declare_queue(&Queue::new("q"))?;
    watcher.producer()?.publish("x", |message| message.to("", "q"))?;
    {
        let connection = Connection::connect(builder())?;
        let mut consumer = connection.consume("q")?;
        let held = consumer.next_within(LIMIT)?.unwrap();
        // The delivery alone keeps the connection.
        drop((connection, consumer));
        assert_eq!(watcher.size("q")?, 0);
        drop(held);
    }
    let deadline = std::time::Instant::now() + LIMIT;
    while watcher.size("q")? == 0 {
        assert!(std::time::Instant::now() < deadline, "the message did not come back");
        thread::yield_now();
    }
    Ok(())
}

#[test]
fn a_broker_that_is_not_there_is_an_error() {
    let connection = kombu_core::Connection::builder("nowhere://").retry(RetryPolicy::once());
    assert_eq!(Connection::connect(connection).unwrap_err().kind(), ErrorKind::InvalidUrl);
}
