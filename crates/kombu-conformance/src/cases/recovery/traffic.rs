//! Numbered messages that are published and consumed all the while, and what became of each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kombu_core::{Connection, Consumer, ErrorKind, Producer, Queue};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::BACK;
use crate::failure::{Failure, Outcome};
use crate::stage::Stage;
use crate::wait;

/// How many unsettled messages the consumer may have.
const PREFETCH: u16 = 20;

/// Two publishers and a consumer at work.
pub(super) struct Traffic {
    book: Arc<Mutex<Book>>,
    stop: watch::Sender<bool>,
    publishers: Vec<JoinHandle<Outcome>>,
    consumer: JoinHandle<Result<(), Failure>>,
    marks_redelivered: bool,
}

/// What became of the messages.
#[derive(Default)]
struct Book {
    /// How each publish ended.
    published: BTreeMap<u64, Fate>,
    /// How often each message came, and how often unmarked.
    received: BTreeMap<u64, Came>,
    acknowledged: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// Confirmed, and perhaps published more than once on the way.
    ConfirmedAfterRetries,
    /// Confirmed at its only attempt.
    ConfirmedAtOnce,
    /// Failed: it may or may not have arrived.
    Uncertain,
}

#[derive(Clone, Copy, Debug, Default)]
struct Came {
    times: usize,
    /// How often it was not marked redelivered.
    unmarked: usize,
}

impl Traffic {
    /// Starts publishing to a queue through one connection, and consuming through another.
    pub(super) async fn start(
        stage: &Stage,
        from: &Connection,
        to: &Connection,
        queue: &Queue,
    ) -> Result<Self, Failure> {
        let book = Arc::new(Mutex::new(Book::default()));
        let (stop, stopped) = watch::channel(false);
        let consumer = to.consumer(queue).prefetch(PREFETCH).start().await?;
        from.declare_queue(queue).await?;
        let mut publishers = Vec::new();
        for retries in [true, false] {
            let producer = from.producer().await?.retry(retries).timeout(BACK);
            let publish =
                publish(producer, queue.clone(), retries, Arc::clone(&book), stopped.clone());
            publishers.push(tokio::spawn(publish));
        }
        let consumer = tokio::spawn(consume(consumer, Arc::clone(&book), stopped));
        let marks_redelivered = stage.can.redelivered;
        Ok(Self { book, stop, publishers, consumer, marks_redelivered })
    }

    /// Waits until so many more messages went all the way.
    #[track_caller]
    pub(super) fn flows(&self, count: usize) -> impl Future<Output = Outcome> + use<'_> {
        let start = lock(&self.book).acknowledged;
        wait::eventually_within(
            BACK,
            Duration::from_millis(10),
            "messages to flow from the publishers to the consumer",
            async move || {
                if self.consumer.is_finished()
                    || self.publishers.iter().any(JoinHandle::is_finished)
                {
                    // Its own error says more than a lack of messages.
                    return Ok(true);
                }
                Ok(lock(&self.book).acknowledged >= start + count)
            },
        )
    }

    /// Stops publishing, waits for what is confirmed to arrive, and draws the balance.
    pub(super) async fn balance(self) -> Outcome {
        self.stop.send_replace(true);
        for publisher in self.publishers {
            wait::within(BACK, "a publisher to end", publisher).await???;
        }
        let book = Arc::clone(&self.book);
        let arrived = wait::eventually_within(
            BACK,
            Duration::from_millis(20),
            "all confirmed messages to arrive",
            async move || Ok(lock(&book).lost().is_empty()),
        );
        let late = arrived.await;
        // Dropped, the consumer's end would be reported as a loss.
        self.consumer.abort();
        match self.consumer.await {
            Ok(failed) => failed?,
            Err(aborted) if aborted.is_cancelled() => {}
            Err(panicked) => return Err(panicked.into()),
        }
        let book = lock(&self.book);
        let lost = book.lost();
        assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
        late?;
        let doubles = book.doubles(self.marks_redelivered);
        assert!(doubles.is_empty(), "doubled without being marked: {doubles:?}");
        assert!(book.acknowledged > 0);
        Ok(())
    }
}

impl Book {
    /// What was confirmed and did not come.
    fn lost(&self) -> Vec<u64> {
        let confirmed = self.published.iter().filter(|(_, fate)| **fate != Fate::Uncertain);
        confirmed.map(|(id, _)| *id).filter(|id| !self.received.contains_key(id)).collect()
    }

    /// What came twice although it was published once and not marked redelivered.
    fn doubles(&self, marks_redelivered: bool) -> Vec<(u64, Came)> {
        let once = |id| self.published.get(id) != Some(&Fate::ConfirmedAfterRetries);
        self.received
            .iter()
            .filter(|(id, came)| marks_redelivered && once(id) && came.unmarked > 1)
            .map(|(id, came)| (*id, *came))
            .collect()
    }
}

/// Publishes one number after the other: even ones with retries, odd ones without.
async fn publish(
    producer: Producer,
    queue: Queue,
    retries: bool,
    book: Arc<Mutex<Book>>,
    stopped: watch::Receiver<bool>,
) -> Outcome {
    // Fast enough for any moment to be hit, slow enough for no queue to grow.
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut id = u64::from(!retries);
    while !*stopped.borrow() {
        // The default exchange, without a declaration: the queue must be there again by itself.
        let fate = match producer.publish(&id).to("", queue.name()).await {
            Ok(()) if retries => Fate::ConfirmedAfterRetries,
            Ok(()) => Fate::ConfirmedAtOnce,
            Err(error) if !retries && error.is_recoverable() => Fate::Uncertain,
            Err(error) => return Err(error.into()),
        };
        lock(&book).published.insert(id, fate);
        id += 2;
        pace.tick().await;
    }
    Ok(())
}

/// Receives and acknowledges until it is aborted.
async fn consume(
    mut consumer: Consumer,
    book: Arc<Mutex<Book>>,
    _stopped: watch::Receiver<bool>,
) -> Outcome {
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let id: u64 = delivery.decode()?;
        {
            let mut book = lock(&book);
            let came = book.received.entry(id).or_default();
            came.times += 1;
            came.unmarked += usize::from(!delivery.is_redelivered());
        }
        match delivery.ack().await {
            Ok(()) => lock(&book).acknowledged += 1,
            // It comes again.
            Err(error) if error.kind() == ErrorKind::StaleDelivery => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new("the consumer's stream ended"))
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
