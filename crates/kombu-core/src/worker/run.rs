//! A worker at work.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use super::chain::Chain;
use super::redelivery;
use super::{Job, Verdict, Worker};
use crate::connection::lock;
use crate::consumer::{Acker, Consumer, Delivery};
use crate::entity::Queue;
use crate::error::{Error, ErrorKind, Result};
use crate::producer::Producer;
use crate::retry::RetryPolicy;
use crate::transport::Outcome;

/// How far the end of a worker is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    Working,
    /// Nothing new is begun.
    Stopping,
    /// Handlers at work are dropped.
    Over,
}

/// What the slots of a worker share: each handles one message at a time.
struct Shop {
    consumer: tokio::sync::Mutex<Consumer>,
    /// By the number at the end of the consumer tag.
    chains: Vec<Arc<Chain>>,
    producer: Producer,
    /// Whether the broker can tell that a queue is gone.
    mandatory: bool,
    deadline: Option<Duration>,
    retry: RetryPolicy,
    /// Whether the broker holds what is to be tried again.
    waits_on_broker: bool,
    dead_letters: Option<Queue>,
    phase: watch::Sender<Phase>,
    /// What `phase` says, at less cost.
    stopping: AtomicBool,
    /// Messages that wait to be tried again.
    waiting: Mutex<JoinSet<()>>,
    failure: Mutex<Option<Error>>,
}

pub(super) async fn run(worker: Worker, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
    let (concurrency, grace) = (worker.concurrency, worker.grace);
    let shop = Arc::new(Shop::open(worker).await?);
    let mut slots = JoinSet::new();
    for _ in 0..concurrency {
        slots.spawn(Arc::clone(&shop).slot());
    }
    tokio::select! {
        biased;
        () = shutdown => {}
        // A slot ends before it is asked to when the consumer did.
        Some(_ended) = slots.join_next() => {}
    }
    shop.enter(Phase::Stopping);
    let mut consumer = shop.consumer.lock().await;
    consumer.cancel().await;
    let given_back = consumer.give_back().await;
    drop(consumer);
    if timeout(grace, async { while slots.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(handlers = slots.len(), "handlers outlived the grace period");
        shop.enter(Phase::Over);
        while slots.join_next().await.is_some() {}
    }
    let mut waiting = std::mem::take(&mut *lock(&shop.waiting));
    while waiting.join_next().await.is_some() {}
    // Settlements made since are sent, too.
    let settled = shop.consumer.lock().await.give_back().await;
    let failure = lock(&shop.failure).take();
    failure.map_or_else(|| given_back.and(settled), Err)
}

impl Shop {
    async fn open(worker: Worker) -> Result<Self> {
        let (queues, handlers): (Vec<_>, Vec<_>) = worker.queues.into_iter().unzip();
        let layers: Arc<[_]> = worker.layers.into();
        let chains = handlers
            .into_iter()
            .map(|handler| Arc::new(Chain { layers: Arc::clone(&layers), handler }))
            .collect();
        let prefetch = worker.prefetch.unwrap_or_else(|| {
            u16::try_from(worker.concurrency.saturating_mul(4)).unwrap_or(u16::MAX)
        });
        let producer = match worker.producer {
            Some(producer) => producer,
            None => worker.connection.producer().await?,
        };
        let can = worker.connection.capabilities().await?;
        if worker.waits_on_broker && !can.delayed_delivery {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this broker cannot hold messages that are to be tried again (capability \
                 delayed_delivery); use Worker::retry",
            ));
        }
        let mut consumer =
            worker.connection.consumer(queues).prefetch(prefetch).tag_prefix(TAG_PREFIX);
        if let Some(accept) = worker.accept {
            consumer = consumer.accept(accept);
        }
        Ok(Self {
            consumer: tokio::sync::Mutex::new(consumer.start().await?),
            chains,
            producer,
            mandatory: can.mandatory,
            deadline: worker.deadline,
            retry: worker.retry,
            waits_on_broker: worker.waits_on_broker,
            dead_letters: worker.dead_letters,
            phase: watch::Sender::new(Phase::Working),
            stopping: AtomicBool::new(false),
            waiting: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    fn enter(&self, phase: Phase) {
        self.stopping.store(true, Ordering::Release);
        self.phase.send_replace(phase);
    }

    /// Waits for a phase.
    async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        // The sender lives as long as this.
        let _always = phases.wait_for(|now| *now >= phase).await;
    }

    /// Handles one message after the other until the worker stops or the consumer ends.
    async fn slot(self: Arc<Self>) {
        while !self.stopping.load(Ordering::Acquire) {
            match self.next().await {
                Some(Ok(delivery)) => self.handle(delivery).await,
                Some(Err(error)) => *lock(&self.failure) = Some(error),
                None => return,
            }
        }
    }

    /// The next message; `None` when there are no more, or the worker stops.
    async fn next(&self) -> Option<Result<Delivery>> {
        // What is there already costs no waiting.
        if let Ok(mut consumer) = self.consumer.try_lock()
            && let Some(next) = consumer.next().now_or_never()
        {
            return next;
        }
        tokio::select! {
            biased;
            () = self.reached(Phase::Stopping) => None,
            next = async { self.consumer.lock().await.next().await } => next,
        }
    }

    async fn handle(self: &Arc<Self>, delivery: Delivery) {
        let held = Held(Some(delivery.acker()));
        let Some(chain) = self.chain(delivery.consumer_tag()) else {
            tracing::error!(tag = delivery.consumer_tag(), "a message of a consumer unknown");
            return;
        };
        let delivery = Arc::new(delivery);
        let job = Job::new(Arc::clone(&delivery), self.producer.clone());
        let processing = delivery.processing();
        let work = chain.call(job).instrument(processing.span());
        let work = AssertUnwindSafe(work).catch_unwind();
        let verdict = tokio::select! {
            biased;
            ended = within(self.deadline, work) => match ended {
                Ok(Ok(verdict)) => verdict,
                Ok(Err(panic)) => Verdict::Retry(format!("the handler panicked: {}", words(&*panic))),
                Err(deadline) => Verdict::Retry(format!("the handler took longer than {deadline:?}")),
            },
            () = self.reached(Phase::Over) => return,
        };
        match &verdict {
            Verdict::Reject(_) => processing.failed("reject"),
            Verdict::Retry(_) => processing.failed("retry"),
            Verdict::Done | Verdict::Requeue => {}
        }
        processing.end();
        match verdict {
            Verdict::Done => held.settle(Outcome::Ack),
            Verdict::Requeue => held.settle(Outcome::Requeue),
            Verdict::Reject(reason) => self.give_up(held, &delivery, &reason).await,
            Verdict::Retry(reason) => {
                let attempts = redelivery::attempts(delivery.headers()).saturating_add(1);
                match self.retry.wait_after(attempts) {
                    None => self.give_up(held, &delivery, &reason).await,
                    Some(wait) => {
                        tracing::debug!(reason, attempts, ?wait, "a message is to be tried again");
                        if self.waits_on_broker {
                            let published = redelivery::later(&self.producer, &delivery, wait);
                            held.replaced(published.await);
                        } else {
                            self.wait(held, delivery, wait);
                        }
                    }
                }
            }
        }
    }

    fn chain(&self, tag: &str) -> Option<&Arc<Chain>> {
        self.chains.get(tag.strip_prefix(TAG_PREFIX)?.parse::<usize>().ok()?)
    }

    /// Publishes a message anew after a wait, which the end of the worker cuts short.
    fn wait(self: &Arc<Self>, held: Held, delivery: Arc<Delivery>, wait: Duration) {
        let shop = Arc::clone(self);
        let mut waiting = lock(&self.waiting);
        while waiting.try_join_next().is_some() {}
        waiting.spawn(async move {
            tokio::select! {
                () = sleep(wait) => {}
                () = shop.reached(Phase::Stopping) => {}
            }
            let published = redelivery::again(&shop.producer, &delivery, shop.mandatory).await;
            held.replaced(published);
        });
    }

    async fn give_up(&self, held: Held, delivery: &Delivery, reason: &str) {
        tracing::warn!(reason, queue = delivery.queue(), "a message is given up");
        match &self.dead_letters {
            None => held.settle(Outcome::Reject),
            Some(queue) => {
                held.replaced(
                    redelivery::dead_letter(&self.producer, delivery, queue, reason).await,
                );
            }
        }
    }
}

/// The right to settle a message, which goes back if nobody does.
struct Held(Option<Acker>);

impl Held {
    fn settle(mut self, outcome: Outcome) {
        if let Some(acker) = self.0.take() {
            settle(&acker, outcome);
        }
    }

    /// Settles a message of which there is a copy now, or should be.
    fn replaced(self, published: Result<()>) {
        match published {
            Ok(()) => self.settle(Outcome::Ack),
            Err(error) => {
                tracing::warn!(%error, "a message could not be published anew, and goes back");
                self.settle(Outcome::Requeue);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(acker) = self.0.take() {
            settle(&acker, Outcome::Requeue);
        }
    }
}

/// Settles a message, unless its handler did so, or its link is gone and it comes again.
fn settle(acker: &Acker, outcome: Outcome) {
    if let Err(error) = acker.settle(outcome)
        && error.kind() != ErrorKind::MessageState
    {
        tracing::debug!(%error, "cannot settle a message");
    }
}

/// Waits for a future, and no longer than the limit, which is the error.
async fn within<F: Future>(limit: Option<Duration>, future: F) -> Result<F::Output, Duration> {
    match limit {
        None => Ok(future.await),
        Some(limit) => timeout(limit, future).await.map_err(|_elapsed| limit),
    }
}

/// What a panic said.
fn words(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

/// What the consumer tags begin with; the number of the queue follows.
const TAG_PREFIX: &str = "kombu-worker-";
