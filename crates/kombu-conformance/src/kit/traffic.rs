//! Numbers that are published and consumed all the while, and what became of each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kombu_core::{Connection, ErrorKind, Queue};
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{Outcome, SOON, say, until};

/// Some publishers and one consumer at work.
#[derive(Debug)]
pub struct Traffic {
    book: Arc<Book>,
    publishers: Vec<JoinHandle<()>>,
    consumer: JoinHandle<kombu_core::Result<()>>,
}

#[derive(Debug, Default)]
struct Book {
    last: AtomicU64,
    stop: AtomicBool,
    /// Whether each message that was confirmed was so at its only attempt.
    confirmed: Mutex<BTreeMap<u64, bool>>,
    failed: AtomicU64,
    /// How often each message came without the mark of a redelivery.
    received: Mutex<BTreeMap<u64, u32>>,
}

impl Traffic {
    /// Starts publishing through one connection and consuming through another. Every other
    /// publisher makes one attempt only.
    async fn start(from: &Connection, to: &Connection, queue: &Queue) -> kombu_core::Result<Self> {
        let book = Arc::new(Book::default());
        // Made once: it is the consumer's own matter to go on.
        let mut consumer = to.consumer(queue).prefetch(100).start().await?;
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let retries = number % 2 == 0;
            let producer = from.producer().await?.retry(retries);
            let (queue, book) = (queue.clone(), Arc::clone(&book));
            publishers.push(tokio::spawn(async move {
                while !book.stop.load(Ordering::Relaxed) {
                    let number = book.last.fetch_add(1, Ordering::Relaxed) + 1;
                    match producer.publish(&number).to("", queue.name()).await {
                        Ok(()) => _ = lock(&book.confirmed).insert(number, !retries),
                        Err(_uncertain) => _ = book.failed.fetch_add(1, Ordering::Relaxed),
                    }
                }
            }));
        }
        let received = Arc::clone(&book);
        let consumer = tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                let delivery = delivery?;
                let unmarked = u32::from(!delivery.is_redelivered());
                *lock(&received.received).entry(delivery.decode()?).or_default() += unmarked;
                match delivery.ack().await {
                    Err(error) if error.kind() != ErrorKind::StaleDelivery => return Err(error),
                    _ => {}
                }
            }
            Err(kombu_core::Error::new(ErrorKind::Other, "the consumer's stream ended"))
        });
        Ok(Self { book, publishers, consumer })
    }

    /// How many publishes failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.book.failed.load(Ordering::Relaxed)
    }

    /// Waits until so many more messages have come, and one that is published from now on.
    ///
    /// # Panics
    ///
    /// When they do not within [`SOON`], or the consumer has ended.
    pub async fn flows(&self, count: usize) {
        let already = lock(&self.book.received).len();
        let from_now = self.book.last.load(Ordering::Relaxed);
        until("messages to flow", async || {
            let received = lock(&self.book.received);
            let fresh = received.last_key_value().is_some_and(|(last, _)| *last > from_now);
            assert!(!self.consumer.is_finished(), "the consumer has ended");
            fresh && received.len() >= already + count
        })
        .await;
    }

    /// Ends publishing, and waits until all that was confirmed has come.
    async fn balance(self) -> Outcome {
        self.book.stop.store(true, Ordering::Relaxed);
        for publisher in self.publishers {
            timeout(SOON * 2, publisher).await??;
        }
        let missing = || -> Vec<u64> {
            let received = lock(&self.book.received);
            let confirmed = lock(&self.book.confirmed);
            confirmed.keys().filter(|number| !received.contains_key(number)).copied().collect()
        };
        let deadline = Instant::now() + SOON;
        while !missing().is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let missing = missing();
        self.consumer.abort();
        let confirmed = lock(&self.book.confirmed);
        if !missing.is_empty() {
            let all = confirmed.len();
            return Err(format!("of {all} confirmed these did not come: {missing:?}").into());
        }
        let received = lock(&self.book.received);
        let doubled: Vec<_> = received
            .iter()
            .filter(|(number, unmarked)| **unmarked > 1 && confirmed.get(*number) == Some(&true))
            .collect();
        assert!(doubled.is_empty(), "published once, doubled and not marked: {doubled:?}");
        say(format_args!(
            "{} messages confirmed and received, {} publishes failed",
            confirmed.len(),
            self.book.failed.load(Ordering::Relaxed)
        ));
        Ok(())
    }
}

/// Does something while traffic flows over two connections, and checks that nothing is lost and
/// nothing doubled that is not marked. Deletes the queue, and closes both.
///
/// # Errors
///
/// Those of what is done, and messages that were confirmed and did not come.
///
/// # Panics
///
/// When the traffic does not go on within [`SOON`], or a message is doubled.
pub async fn with_traffic(
    from: &Connection,
    to: &Connection,
    queue: &Queue,
    events: impl AsyncFnOnce(&Traffic) -> Outcome,
) -> Outcome {
    let traffic = Traffic::start(from, to, queue).await?;
    traffic.flows(100).await;
    events(&traffic).await?;
    traffic.flows(100).await;
    traffic.balance().await?;
    to.delete_queue(queue.name()).await?;
    from.close().await?;
    Ok(to.close().await?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const PUBLISHERS: usize = 4;
