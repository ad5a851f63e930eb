//! A channel: its consumers and its unsettled messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use kombu_core::transport::{
    Consume, ConsumerTag, DeliveryTag, Get, Outcome, Publish, RawDelivery,
};
use kombu_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connection::{Control, Link};
use crate::consumer::Consumer;
use crate::dead_letter::DeadLetters;
use crate::declare;
use crate::ended::Ended;
use crate::fetch;
use crate::interrupt::Interrupt;
use crate::lock::lock;
use crate::routing::RouteCache;
use crate::settle::{self, Job};
use crate::store::{Claim, Claimed, Store, Want};
use crate::unsettled::{Held, Spare, Unsettled};

/// What a channel's handle, its fetch loops and the keeper share.
pub(crate) struct Channel<S: Store> {
    pub(crate) link: Arc<Link<S>>,
    pub(crate) number: u64,
    pub(crate) ended: Ended,
    closing: AtomicBool,
    pub(crate) roster: Mutex<Roster<S>>,
    pub(crate) unsettled: Mutex<Unsettled<Held<S::Receipt>>>,
    pub(crate) routes: Mutex<RouteCache>,
    /// Held while one that ended is cleared up after.
    burial: tokio::sync::Mutex<()>,
    /// Whose turn it is to change the topology.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
}

/// The consumers of a channel and the loops that fetch for them.
pub(crate) struct Roster<S: Store> {
    pub(crate) consumers: Vec<Arc<Consumer<S::Receipt>>>,
    /// Those that ended, until what was claimed for them is back.
    leaving: Vec<Arc<Consumer<S::Receipt>>>,
    pub(crate) loops: Vec<Arc<LoopSignal>>,
}

/// How the channel speaks to a fetch loop.
#[derive(Debug)]
pub(crate) struct LoopSignal {
    /// The queue that it fetches from; all of the channel if none.
    pub(crate) queue: Option<Arc<str>>,
    /// Fires when the loop should look at its consumers again.
    pub(crate) interrupt: Interrupt,
    /// How often it looked, with nothing in hand; `u64::MAX` when it ended.
    pub(crate) passes: watch::Sender<u64>,
}

impl LoopSignal {
    pub(crate) fn serves(&self, queue: &str) -> bool {
        self.queue.as_deref().is_none_or(|own| own == queue)
    }
}

impl<S: Store> Channel<S> {
    pub(crate) fn new(link: Arc<Link<S>>, number: u64) -> Self {
        Self {
            link,
            number,
            ended: Ended::new(),
            closing: AtomicBool::new(false),
            roster: Mutex::new(Roster {
                consumers: Vec::new(),
                leaving: Vec::new(),
                loops: Vec::new(),
            }),
            burial: tokio::sync::Mutex::new(()),
            unsettled: Mutex::new(Unsettled::new()),
            routes: Mutex::new(RouteCache::default()),
            turn: Arc::default(),
        }
    }

    /// Fails when the channel has ended.
    pub(crate) fn alive(&self) -> Result<()> {
        match self.ended.reason() {
            Some(reason) => Err(reason),
            None if self.closing.load(Ordering::Acquire) => Err(Error::closed("channel")),
            None => self.link.alive(),
        }
    }

    pub(crate) fn consumers(&self) -> Vec<Arc<Consumer<S::Receipt>>> {
        lock(&self.roster).consumers.clone()
    }

    /// Makes all loops look again.
    pub(crate) fn wake(&self) {
        for signal in &lock(&self.roster).loops {
            signal.interrupt.fire();
        }
    }

    pub(crate) fn wake_for(&self, queue: &str) {
        for signal in lock(&self.roster).loops.iter().filter(|signal| signal.serves(queue)) {
            signal.interrupt.fire();
        }
    }

    /// Waits until publishes and settlements made before have arrived, so that a call that looks
    /// at queues sees them.
    pub(crate) async fn in_order(&self) {
        if !self.link.features.immediate {
            self.link.publisher.settle_down().await;
            self.link.settler.settle_down().await;
        }
    }

    pub(crate) async fn take(self: Arc<Self>, get: Get) -> Result<Option<RawDelivery>> {
        self.in_order().await;
        declare::check_queue(&self.link, &get.queue).await?;
        let letters = declare::dead_letters(&self.link, &get.queue).await?;
        let queue: Arc<str> = get.queue.as_str().into();
        let wants = [Want::new(Arc::clone(&queue), 1, get.no_ack)];
        let interrupt = Interrupt::new();
        let claim = Claim::new(&wants, Duration::ZERO, &interrupt);
        let Some(claimed) = self.link.store.claim(claim).await?.pop() else { return Ok(None) };
        let mut unsettled = lock(&self.unsettled);
        let mut delivered = Vec::with_capacity(1);
        let held = deliver(claimed, None, letters.as_ref(), Instant::now(), &mut delivered);
        let Some(mut delivery) = delivered.pop() else { return Ok(None) };
        if !get.no_ack {
            delivery.tag = unsettled.push(held);
            return Ok(Some(delivery));
        }
        delivery.tag = unsettled.skip();
        drop(unsettled);
        if held.receipt.is_some() && !self.link.features.claim_forgets {
            self.send(vec![Job::new(held, Outcome::Ack)]);
        }
        Ok(Some(delivery))
    }

    pub(crate) async fn start(self: Arc<Self>, consume: Consume) -> Result<()> {
        let link = &self.link;
        declare::check_queue(link, &consume.queue).await?;
        if consume.arguments.contains("x-priority") {
            link.refuse.unless(link.refuse.promised.consumer_priority, "consumer_priority")?;
        }
        let letters = declare::dead_letters(link, &consume.queue).await?;
        let queue = Arc::clone(&consume.queue);
        let (channel, tag) = (Arc::downgrade(&self), consume.tag.clone());
        let ticket = link.presence.enter(&queue, consume.exclusive, move |reason| {
            if let Some(channel) = channel.upgrade() {
                channel.end_consumer(&tag, reason);
            }
        })?;
        if let Err(error) = link.begin_consuming(&queue).await {
            link.presence.leave(&queue, ticket);
            return Err(error);
        }
        let consumer = Arc::new(Consumer::new(consume, letters, ticket));
        let refused = {
            let mut roster = lock(&self.roster);
            let taken = roster.consumers.iter().any(|have| have.tag == consumer.tag);
            match self.alive() {
                Err(error) => Some(error),
                Ok(()) if taken => Some(Error::new(
                    ErrorKind::InvalidArgument,
                    format!("the channel has a consumer {:?} already", consumer.tag.as_str()),
                )),
                Ok(()) => {
                    roster.consumers.push(Arc::clone(&consumer));
                    fetch::ensure_loop(&self, &mut roster, &queue);
                    None
                }
            }
        };
        match refused {
            None => Ok(()),
            Some(error) => {
                link.presence.leave(&queue, ticket);
                link.end_consuming(&queue).await;
                Err(error)
            }
        }
    }

    /// Takes a consumer off the roster.
    fn strike(&self, tag: &ConsumerTag) -> Option<Arc<Consumer<S::Receipt>>> {
        let mut roster = lock(&self.roster);
        let at = roster.consumers.iter().position(|consumer| consumer.tag == *tag)?;
        let consumer = roster.consumers.remove(at);
        roster.leaving.push(Arc::clone(&consumer));
        Some(consumer)
    }

    pub(crate) async fn stop(self: Arc<Self>, tag: ConsumerTag) -> Result<()> {
        let Some(consumer) = self.strike(&tag) else { return Ok(()) };
        self.bury(&consumer).await;
        Ok(())
    }

    /// Ends a consumer whose queue was deleted. Sends the notice; the keeper does the rest.
    fn end_consumer(self: &Arc<Self>, tag: &ConsumerTag, reason: Error) {
        if let Some(consumer) = self.strike(tag) {
            consumer.leave();
            consumer.sink.cancelled(consumer.tag.clone(), reason);
            self.send_to_grave(consumer);
        }
    }

    /// Ends a consumer whose receiver is gone.
    pub(crate) fn drop_consumer(self: &Arc<Self>, consumer: &Arc<Consumer<S::Receipt>>) {
        if self.strike(&consumer.tag).is_some() {
            consumer.leave();
            self.send_to_grave(Arc::clone(consumer));
        }
    }

    fn send_to_grave(self: &Arc<Self>, consumer: Arc<Consumer<S::Receipt>>) {
        let _no_keeper = self.link.control.send(Control::Bury(Arc::clone(self), consumer));
    }

    /// Clears up after a consumer that is off the roster: gives back what was claimed for it and
    /// not delivered, in order, and deletes its queue if that goes with its last consumer.
    pub(crate) async fn bury(&self, consumer: &Arc<Consumer<S::Receipt>>) {
        consumer.leave();
        let _one_at_a_time = self.burial.lock().await;
        let is_it = |have: &Arc<Consumer<S::Receipt>>| Arc::ptr_eq(have, consumer);
        if !lock(&self.roster).leaving.iter().any(is_it) {
            return;
        }
        self.pass(&consumer.queue).await;
        let backlog = std::mem::take(&mut *lock(&consumer.backlog));
        consumer.released(backlog.len());
        settle::settle(&self.link, backlog.into_iter().map(Job::unseen).collect()).await;
        self.link.end_consuming(&consumer.queue).await;
        let last = self.link.presence.leave(&consumer.queue, consumer.ticket);
        if last && let Err(error) = declare::auto_delete(&self.link, &consumer.queue).await {
            tracing::warn!(%error, queue = &*consumer.queue, "an unused queue was not deleted");
        }
        lock(&self.roster).leaving.retain(|have| !is_it(have));
    }

    /// Waits until the loops that fetch from a queue have looked at the roster again, so that what
    /// they claimed for a consumer that left is given back. A store that cannot be interrupted is
    /// not waited for longer than [`PASS_LIMIT`].
    async fn pass(&self, queue: &str) {
        let waits: Vec<_> = lock(&self.roster)
            .loops
            .iter()
            .filter(|signal| signal.serves(queue))
            .map(|signal| {
                let mut passes = signal.passes.subscribe();
                let before = *passes.borrow_and_update();
                signal.interrupt.fire();
                async move {
                    let _loop_gone = passes.wait_for(|now| *now > before).await;
                }
            })
            .collect();
        let all = futures_util::future::join_all(waits);
        if timeout(PASS_LIMIT, all).await.is_err() {
            tracing::debug!(queue, "a claim in flight outlasts its consumer");
        }
    }

    /// Closes the channel: see [`RawChannel::close`](kombu_core::transport::RawChannel::close).
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        if self.closing.swap(true, Ordering::AcqRel) {
            self.ended.wait().await;
            return;
        }
        let (leaving, loops) = {
            let mut roster = lock(&self.roster);
            let consumers = std::mem::take(&mut roster.consumers);
            roster.leaving.extend(consumers);
            (roster.leaving.clone(), roster.loops.clone())
        };
        for consumer in &leaving {
            consumer.leave();
        }
        for signal in loops {
            let mut passes = signal.passes.subscribe();
            signal.interrupt.fire();
            let _loop_gone = passes.wait_for(|now| *now == u64::MAX).await;
        }
        self.in_order().await;
        // What came last goes back first: the head of the queue is where the oldest belong.
        for consumer in &leaving {
            self.bury(consumer).await;
        }
        let unsettled = lock(&self.unsettled).take_up_to(DeliveryTag(0));
        let jobs = unsettled.into_iter().map(|held| Job::new(held, Outcome::Requeue)).collect();
        settle::settle(&self.link, jobs).await;
        lock(&self.link.channels).remove(&self.number);
        self.ended.end(Error::closed("channel"));
    }

    /// Settles, at once or with the next batch.
    pub(crate) fn send(&self, jobs: Vec<Job<S::Receipt>>) {
        if self.link.features.immediate {
            self.settle_now(jobs);
        } else {
            self.link.settler.push(jobs, self.link.features.settle_batch);
        }
    }

    fn settle_now(&self, jobs: Vec<Job<S::Receipt>>) {
        if settle::settle(&self.link, jobs).now_or_never().is_none() {
            tracing::error!(
                transport = self.link.refuse.transport,
                "the store claims to be immediate and is not; settlements are lost"
            );
        }
    }
}

impl<S: Store> Channel<S> {
    /// Why a tag cannot be settled.
    pub(crate) fn unknown(&self, tag: DeliveryTag) -> Error {
        let closed = self.ended.is_ended() || self.closing.load(Ordering::Acquire);
        if closed || self.link.ended.is_ended() {
            return Error::new(
                ErrorKind::StaleDelivery,
                "the channel of this delivery is gone; the message comes again",
            );
        }
        Error::new(ErrorKind::MessageState, "no unsettled delivery has this tag").with("tag", tag)
    }
}

/// A channel that nobody closed, in a runtime that is gone: what it holds goes back all the same
/// where that needs no waiting.
impl<S: Store> Drop for Channel<S> {
    fn drop(&mut self) {
        let roster = self.roster.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let unsettled = self.unsettled.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let held = unsettled.take_up_to(DeliveryTag(0));
        let mut jobs: Vec<_> =
            held.into_iter().map(|held| Job::new(held, Outcome::Requeue)).collect();
        for consumer in roster.consumers.iter().chain(&roster.leaving) {
            self.link.presence.leave(&consumer.queue, consumer.ticket);
            jobs.extend(std::mem::take(&mut *lock(&consumer.backlog)).into_iter().map(Job::unseen));
        }
        if self.link.features.immediate && !jobs.is_empty() {
            let _not_immediate = settle::settle(&self.link, jobs).now_or_never();
        }
    }
}

/// Makes of a claimed message what the channel keeps, and adds what the consumer gets.
pub(crate) fn deliver<R>(
    claimed: Claimed<R>,
    consumer: Option<&Arc<Consumer<R>>>,
    letters: Option<&Arc<DeadLetters>>,
    since: Instant,
    deliveries: &mut Vec<RawDelivery>,
) -> Held<R> {
    let held = Held {
        consumer: consumer.map(Arc::clone),
        queue: Arc::clone(&claimed.queue),
        spare: (letters.is_some() || claimed.receipt.is_none()).then(|| {
            let message = claimed.message.clone();
            let publish = Publish::new(&claimed.exchange, &claimed.routing_key, message);
            Box::new(Spare { publish, letters: letters.map(Arc::clone) })
        }),
        receipt: claimed.receipt,
        since,
    };
    let tag = consumer.map_or_else(|| ConsumerTag::new(""), |consumer| consumer.tag.clone());
    deliveries.push(RawDelivery::new(DeliveryTag(0), tag, claimed.queue, claimed.message));
    if let Some(delivery) = deliveries.last_mut() {
        delivery.exchange = claimed.exchange;
        delivery.routing_key = claimed.routing_key;
        delivery.redelivered = claimed.redelivered;
        delivery.delivery_count = claimed.delivery_count;
        if let Some(reason) = claimed.broken {
            let properties = &mut delivery.message.properties;
            properties.content_type = Some(BROKEN_TYPE.into());
            properties.headers.insert("x-kombu-broken", reason);
        }
    }
    held
}

/// The content type of a message whose envelope could not be read; its body is the envelope.
const BROKEN_TYPE: &str = "application/x-kombu-broken-envelope";

/// How long the end of a consumer waits for a claim in flight.
const PASS_LIMIT: Duration = Duration::from_secs(2);
