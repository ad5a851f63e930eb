//! Numbers that are published and consumed all the while, and what became of each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kombu_core::{Connection, Queue};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::case::Outcome;
use crate::ground::{SOON, say, until};

/// Some publishers and one consumer at work.
pub(crate) struct Traffic {
    book: Arc<Book>,
    publishers: Vec<JoinHandle<()>>,
    consumer: JoinHandle<kombu_core::Result<()>>,
}

#[derive(Debug, Default)]
struct Book {
    last: AtomicU64,
    stop: AtomicBool,
    confirmed: Mutex<BTreeSet<u64>>,
    failed: AtomicU64,
    received: Mutex<BTreeSet<u64>>,
}

impl Traffic {
    /// Starts publishing through one connection and consuming through another.
    pub(crate) async fn start(
        from: &Connection,
        to: &Connection,
        queue: &Queue,
    ) -> kombu_core::Result<Self> {
        let book = Arc::new(Book::default());
        let mut publishers = Vec::new();
        for _ in 0..PUBLISHERS {
            let (producer, queue, book) =
                (from.producer().await?, queue.clone(), Arc::clone(&book));
            publishers.push(tokio::spawn(async move {
                while !book.stop.load(Ordering::Relaxed) {
                    let number = book.last.fetch_add(1, Ordering::Relaxed) + 1;
                    match producer.publish(&number).to_queue(&queue).await {
                        Ok(()) => _ = lock(&book.confirmed).insert(number),
                        Err(_uncertain) => _ = book.failed.fetch_add(1, Ordering::Relaxed),
                    }
                }
            }));
        }
        // Made once: it is the consumer's own matter to go on.
        let mut consumer = to.consumer(queue).prefetch(100).start().await?;
        let received = Arc::clone(&book);
        let consumer = tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                let delivery = delivery?;
                lock(&received.received).insert(delivery.decode()?);
                delivery.ack().await?;
            }
            Err(kombu_core::Error::new(kombu_core::ErrorKind::Other, "the consumer's stream ended"))
        });
        Ok(Self { book, publishers, consumer })
    }

    /// How many publishes failed.
    pub(crate) fn failed(&self) -> u64 {
        self.book.failed.load(Ordering::Relaxed)
    }

    /// Waits until messages that are published from now on come through.
    pub(crate) async fn flows(&self, count: usize) {
        let already = lock(&self.book.received).len();
        let from_now = self.book.last.load(Ordering::Relaxed);
        until("messages to flow", async || {
            let received = lock(&self.book.received);
            let fresh = received.last().is_some_and(|last| *last > from_now);
            assert!(!self.consumer.is_finished(), "the consumer has ended");
            fresh && received.len() >= already + count
        })
        .await;
    }

    /// Ends publishing, and waits until all that was confirmed has come. Says how many were.
    pub(crate) async fn balance(self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        self.book.stop.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            timeout(SOON, publisher).await??;
        }
        let missing = || -> Vec<u64> {
            lock(&self.book.confirmed).difference(&lock(&self.book.received)).copied().collect()
        };
        let all = timeout(SOON, until("all to come", async || missing().is_empty())).await;
        let missing = missing();
        let confirmed = lock(&self.book.confirmed).len();
        if all.is_err() || !missing.is_empty() {
            return Err(format!("of {confirmed} confirmed these did not come: {missing:?}").into());
        }
        self.consumer.abort();
        Ok(confirmed)
    }
}

/// Does something while traffic flows over two connections, and checks that nothing is lost.
pub(crate) async fn with_traffic(
    from: &Connection,
    to: &Connection,
    events: impl AsyncFnOnce(&Traffic) -> Outcome,
) -> Outcome {
    let queue = Queue::new("q");
    let traffic = Traffic::start(from, to, &queue).await?;
    traffic.flows(100).await;
    events(&traffic).await?;
    traffic.flows(100).await;
    let failed = traffic.failed();
    let confirmed = traffic.balance().await?;
    say(format_args!("{confirmed} messages confirmed and received, {failed} publishes failed"));
    to.delete_queue("q").await?;
    from.close().await?;
    Ok(to.close().await?)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

const PUBLISHERS: usize = 4;
