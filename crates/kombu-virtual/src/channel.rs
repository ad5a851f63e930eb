//! A channel: its consumers and its unsettled messages.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kombu_core::transport::{
    BindQueue, Confirm, Consume, ConsumerTag, DeleteExchange, DeleteQueue, DeliveryTag,
    ExchangeBinding, Get, Outcome, Publish, QueueInfo, RawChannel, RawDelivery, Settle,
};
use kombu_core::{Error, ErrorKind, Exchange, Queue, Result};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::connection::{Control, Guard, Link};
use crate::consumer::Consumer;
use crate::dead_letter::DeadLetters;
use crate::declare;
use crate::ended::Ended;
use crate::fetch;
use crate::interrupt::Interrupt;
use crate::lock::lock;
use crate::publish;
use crate::routing::RouteCache;
use crate::settle::{self, Job};
use crate::store::{Claim, Claimed, Put, Store, Want};
use crate::unsettled::{Held, Spare, Unsettled};

/// What a channel's handle, its fetch loops and the keeper share.
pub(crate) struct Channel<S: Store> {
    pub(crate) link: Arc<Link<S>>,
    number: u64,
    pub(crate) ended: Ended,
    closing: AtomicBool,
    pub(crate) roster: Mutex<Roster<S>>,
    pub(crate) unsettled: Mutex<Unsettled<Held<S::Receipt>>>,
    routes: Mutex<RouteCache>,
    /// Held while one that ended is cleared up after.
    burial: tokio::sync::Mutex<()>,
    /// Whose turn it is to change the topology.
    turn: Arc<tokio::sync::Mutex<()>>,
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
    fn alive(&self) -> Result<()> {
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

    fn wake_for(&self, queue: &str) {
        for signal in lock(&self.roster).loops.iter().filter(|signal| signal.serves(queue)) {
            signal.interrupt.fire();
        }
    }

    /// Waits until publishes and settlements made before have arrived, so that a call that looks
    /// at queues sees them.
    async fn in_order(&self) {
        if !self.link.features.immediate {
            self.link.publisher.settle_down().await;
            self.link.settler.settle_down().await;
        }
    }

    async fn take(self: Arc<Self>, get: Get) -> Result<Option<RawDelivery>> {
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

    async fn start(self: Arc<Self>, consume: Consume) -> Result<()> {
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

    async fn stop(self: Arc<Self>, tag: ConsumerTag) -> Result<()> {
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

    /// Closes the channel: see [`RawChannel::close`].
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

/// The handle of a channel.
pub(crate) struct VirtualChannel<S: Store> {
    channel: Arc<Channel<S>>,
    /// Keeps the connection.
    _guard: Arc<Guard<S>>,
}

impl<S: Store> VirtualChannel<S> {
    pub(crate) fn new(channel: Arc<Channel<S>>, guard: Arc<Guard<S>>) -> Self {
        Self { channel, _guard: guard }
    }

    /// Does something with the channel and its store, to the end.
    async fn call<T, F, Fut>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Channel<S>>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.channel.alive()?;
        self.channel.link.call(work(Arc::clone(&self.channel))).await
    }
}

impl<S: Store> VirtualChannel<S> {
    /// As [`call`](Self::call), after those that were made before and dropped half way: a deletion
    /// that nobody waits for is not to overtake the next declaration.
    async fn in_turn<T, F, Fut>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Channel<S>>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let mut turn = Box::pin(Arc::clone(&self.channel.turn).lock_owned());
        // Its place in the queue is from here on, not from when the work begins.
        let taken = (&mut turn).now_or_never();
        self.call(|channel| {
            let work = work(channel);
            async move {
                let _turn = match taken {
                    Some(taken) => taken,
                    None => turn.await,
                };
                work.await
            }
        })
        .await
    }
}

#[async_trait]
impl<S: Store> RawChannel for VirtualChannel<S> {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        let exchange = exchange.clone();
        self.in_turn(|channel| async move { declare::exchange(&channel.link, &exchange).await })
            .await
    }

    async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()> {
        let delete = delete.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::delete_exchange(&channel.link, &delete).await
        })
        .await
    }

    async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move { declare::bind_exchange(&channel.link, &binding).await })
            .await
    }

    async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::unbind_exchange(&channel.link, &binding).await
        })
        .await
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        let queue = queue.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::queue(&channel.link, queue).await
        })
        .await
    }

    async fn delete_queue(&self, delete: &DeleteQueue) -> Result<u64> {
        let delete = delete.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::delete_queue(&channel.link, &delete).await
        })
        .await
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let queue = queue.to_owned();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::check_queue(&channel.link, &queue).await?;
            channel.link.store.purge(&queue).await
        })
        .await
    }

    async fn bind_queue(&self, binding: &BindQueue) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move { declare::bind_queue(&channel.link, &binding).await })
            .await
    }

    async fn unbind_queue(&self, binding: &BindQueue) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::unbind_queue(&channel.link, &binding).await
        })
        .await
    }

    async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm> {
        self.channel.alive()?;
        let link = &self.channel.link;
        if !link.features.immediate {
            return link.publisher.publish(publish).await;
        }
        // A publisher that never waits would keep everybody else from running.
        tokio::task::coop::consume_budget().await;
        let targets = match publish::targets(link, &self.channel.routes, &publish).await {
            Ok(targets) => targets,
            Err(error) => {
                link.judge(&error);
                return Ok(Confirm::ready(Err(error)));
            }
        };
        if targets.is_empty() {
            return Ok(Confirm::ready(Ok(())));
        }
        let put = link.store.put_now(Put::new(targets, publish));
        Ok(Confirm::ready(put.inspect_err(|error| link.judge(error))))
    }

    async fn get(&self, get: &Get) -> Result<Option<RawDelivery>> {
        self.channel.alive()?;
        let channel = Arc::clone(&self.channel);
        let link = &self.channel.link;
        let get = get.clone();
        if link.features.immediate {
            return channel.take(get).await.inspect_err(|error| link.judge(error));
        }
        let (answer, taken) = oneshot::channel();
        link.tasks.spawn(async move {
            let taken = Arc::clone(&channel).take(get).await;
            if let Err(Ok(Some(delivery))) = answer.send(taken) {
                // Nobody waits any more.
                let held = lock(&channel.unsettled).take(delivery.tag);
                let jobs = held.map(|held| Job::new(held, Outcome::Requeue)).into_iter().collect();
                settle::settle(&channel.link, jobs).await;
            }
        });
        taken
            .await
            .unwrap_or_else(|_| Err(Error::lost("the call was given up")))
            .inspect_err(|error| link.judge(error))
    }

    async fn consume(&self, consume: Consume) -> Result<()> {
        self.call(|channel| channel.start(consume)).await
    }

    async fn cancel(&self, tag: &ConsumerTag) -> Result<()> {
        let tag = tag.clone();
        if self.channel.ended.is_ended() {
            return Ok(());
        }
        // Even for an immediate store, this waits for the fetch loop.
        let channel = Arc::clone(&self.channel);
        let (done, cancelled) = oneshot::channel();
        self.channel.link.tasks.spawn(async move {
            let _nobody_waits = done.send(channel.stop(tag).await);
        });
        cancelled.await.unwrap_or_else(|_| Err(Error::lost("the call was given up")))
    }

    fn settle(&self, settle: Settle) -> Result<Confirm> {
        let channel = &self.channel;
        if channel.link.ended.is_ended() {
            return Err(channel.unknown(settle.tag));
        }
        let _announced =
            (settle.outcome == Outcome::Requeue).then(|| channel.link.settler.announce_return());
        let mut jobs: Vec<Job<S::Receipt>> = Vec::new();
        let free = settle.outcome == Outcome::Ack && channel.link.features.claim_forgets;
        // Room for a message that goes back is made once it is back: it is fetched before what is
        // behind it.
        let mut later = Vec::new();
        let release = |consumer: &Consumer<S::Receipt>| {
            if consumer.released(1) {
                channel.wake_for(&consumer.queue);
            }
        };
        let mut take = |mut held: Held<S::Receipt>| {
            match held.consumer.take() {
                Some(consumer) if settle.outcome == Outcome::Requeue => later.push(consumer),
                Some(consumer) => release(&consumer),
                None => {}
            }
            if !free {
                jobs.push(Job::new(held, settle.outcome));
            }
        };
        if settle.multiple {
            let held = lock(&channel.unsettled).take_up_to(settle.tag);
            if held.is_empty() && settle.tag.0 != 0 {
                return Err(channel.unknown(settle.tag));
            }
            held.into_iter().for_each(&mut take);
        } else {
            let held = lock(&channel.unsettled).take(settle.tag);
            take(held.ok_or_else(|| channel.unknown(settle.tag))?);
        }
        if jobs.is_empty() {
            return Ok(Confirm::ready(Ok(())));
        }
        let confirm = settle::confirm_all(&mut jobs);
        channel.send(jobs);
        later.iter().for_each(|consumer| release(consumer));
        Ok(confirm)
    }

    fn flush(&self) {
        let link = &self.channel.link;
        if !link.features.immediate {
            link.settler.flush();
        }
        let roster = lock(&self.channel.roster);
        for consumer in roster.consumers.iter().filter(|consumer| consumer.hurry()) {
            for signal in roster.loops.iter().filter(|signal| signal.serves(&consumer.queue)) {
                signal.interrupt.fire();
            }
        }
    }

    async fn settled(&self) -> Result<()> {
        if !self.channel.link.features.immediate {
            self.channel.link.settler.settle_down().await;
        }
        self.channel.link.alive()
    }

    async fn recover(&self) -> Result<()> {
        self.call(|channel| async move {
            channel.in_order().await;
            let held = lock(&channel.unsettled).take_up_to(DeliveryTag(0));
            let consumers: Vec<_> = held.iter().filter_map(|held| held.consumer.clone()).collect();
            let jobs = held.into_iter().map(|held| Job::new(held, Outcome::Requeue)).collect();
            settle::settle(&channel.link, jobs).await;
            for consumer in consumers {
                consumer.released(1);
            }
            channel.wake();
            Ok(())
        })
        .await
    }

    async fn lost(&self) -> Error {
        self.channel.ended.wait().await
    }

    async fn close(&self) -> Result<()> {
        if self.channel.ended.is_ended() {
            return Ok(());
        }
        let channel = Arc::clone(&self.channel);
        channel.link.tasks.spawn({
            let channel = Arc::clone(&channel);
            async move { channel.shut_down().await }
        });
        channel.ended.wait().await;
        Ok(())
    }
}

impl<S: Store> Channel<S> {
    /// Why a tag cannot be settled.
    fn unknown(&self, tag: DeliveryTag) -> Error {
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

impl<S: Store> Drop for VirtualChannel<S> {
    fn drop(&mut self) {
        let channel = Arc::clone(&self.channel);
        if !channel.ended.is_ended() {
            let _no_keeper = self.channel.link.control.send(Control::CloseChannel(channel));
        }
    }
}

impl<S: Store> fmt::Debug for VirtualChannel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualChannel")
            .field("number", &self.channel.number)
            .finish_non_exhaustive()
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
