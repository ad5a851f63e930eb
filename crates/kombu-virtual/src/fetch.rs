//! The fetch loop: claims messages for consumers that have room, and hands them out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use kombu_core::Scope;
use kombu_core::transport::Outcome;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::channel::{Channel, LoopSignal, Roster, deliver};
use crate::consumer::{Consumer, Window};
use crate::interrupt::Interrupt;
use crate::lock::lock;
use crate::settle::{self, Job};
use crate::store::{Claim, Claimed, Store, Want};
use crate::unsettled::Held;

/// Sees to it that a loop fetches from a queue for this channel.
pub(crate) fn ensure_loop<S: Store>(
    channel: &Arc<Channel<S>>,
    roster: &mut Roster<S>,
    queue: &Arc<str>,
) {
    let own = channel.link.features.loop_per_queue.then(|| Arc::clone(queue));
    if let Some(signal) = roster.loops.iter().find(|signal| signal.queue == own) {
        signal.interrupt.fire();
        return;
    }
    let signal = Arc::new(LoopSignal {
        queue: own,
        interrupt: Interrupt::new(),
        passes: watch::Sender::new(0),
    });
    roster.loops.push(Arc::clone(&signal));
    let fetch = Fetch { channel: Arc::clone(channel), signal, turn: 0 };
    channel.link.tasks.spawn(fetch.run());
}

struct Fetch<S: Store> {
    channel: Arc<Channel<S>>,
    signal: Arc<LoopSignal>,
    /// Moves the start of each round among the queues and consumers on.
    turn: usize,
}

type Consumers<S> = Vec<Arc<Consumer<<S as Store>::Receipt>>>;

/// What to do next.
struct Plan<S: Store> {
    wants: Vec<Want>,
    /// Those whose sink had no room.
    blocked: Consumers<S>,
    /// When a window that is open too little is used all the same.
    linger: Option<Instant>,
}

impl<S: Store> Fetch<S> {
    async fn run(mut self) {
        let mut failures = 0;
        while let Some(plan) = self.plan() {
            self.turn = self.turn.wrapping_add(1);
            if plan.wants.is_empty() {
                self.idle(plan).await;
            } else {
                match self.claim(plan).await {
                    Ok(claimed) => {
                        failures = 0;
                        self.take_in(claimed).await;
                        // Others who wait for the same queue come to their share, and publishers
                        // fill the next batch.
                        tokio::task::yield_now().await;
                    }
                    Err(error) => {
                        self.channel.link.judge(&error);
                        if error.scope() != Scope::Connection {
                            tracing::warn!(%error, "cannot fetch messages, trying again");
                        }
                        failures += 1;
                        self.pause(FIRST_PAUSE * 2_u32.pow(failures.min(6))).await;
                    }
                }
            }
        }
    }

    fn is_mine(&self, consumer: &Consumer<S::Receipt>) -> bool {
        self.signal.serves(&consumer.queue)
    }

    /// Decides what to claim; nothing more, and off the roster, when there are no consumers left.
    fn plan(&self) -> Option<Plan<S>> {
        self.signal.interrupt.reset();
        let mine: Consumers<S> = {
            let mut roster = lock(&self.channel.roster);
            let mine: Consumers<S> =
                roster.consumers.iter().filter(|one| self.is_mine(one)).cloned().collect();
            if mine.is_empty() || self.channel.link.ended.is_ended() {
                roster.loops.retain(|signal| !Arc::ptr_eq(signal, &self.signal));
                self.signal.passes.send_replace(u64::MAX);
                return None;
            }
            // With the roster locked: whoever left it and waits for this sees that nothing is in
            // hand for it any more.
            self.signal.passes.send_modify(|passes| *passes += 1);
            mine
        };
        let mut plan = Plan { wants: Vec::new(), blocked: Vec::new(), linger: None };
        for consumer in mine {
            match self.channel.offer(&consumer) {
                Offer::Taken => {}
                Offer::NoRoom => {
                    plan.blocked.push(consumer);
                    continue;
                }
                Offer::Gone => {
                    self.channel.drop_consumer(&consumer);
                    continue;
                }
            }
            match consumer.look() {
                Window::Open(room) => self.want(&mut plan.wants, &consumer, room),
                Window::Full => {}
                Window::Lingering(until) => {
                    plan.linger = Some(plan.linger.map_or(until, |other| other.min(until)));
                }
            }
        }
        if let Some(start) = self.turn.checked_rem(plan.wants.len()) {
            plan.wants.rotate_left(start);
        }
        Some(plan)
    }

    /// Adds what a consumer may have. Queues with and without `no_ack` are asked for apart.
    fn want(&self, wants: &mut Vec<Want>, consumer: &Consumer<S::Receipt>, room: usize) {
        let most = self.channel.link.features.claim_batch.max(1);
        let same =
            |want: &&mut Want| want.queue == consumer.queue && want.no_ack == consumer.no_ack;
        match wants.iter_mut().find(same) {
            Some(want) => want.limit = want.limit.saturating_add(room).min(most),
            None => {
                wants.push(Want::new(Arc::clone(&consumer.queue), room.min(most), consumer.no_ack))
            }
        }
    }

    /// Waits until something changes.
    async fn idle(&self, plan: Plan<S>) {
        let linger = plan.linger.unwrap_or_else(|| Instant::now() + A_WHILE);
        tokio::select! {
            () = self.signal.interrupt.fired() => {}
            () = sleep_until(linger) => {}
            () = room(&plan.blocked), if !plan.blocked.is_empty() => {}
        }
    }

    /// Makes one claim, which is never dropped. Meanwhile consumers that had no room get what was
    /// left over for them.
    async fn claim(&self, plan: Plan<S>) -> kombu_core::Result<Vec<Claimed<S::Receipt>>> {
        let link = &self.channel.link;
        let Plan { wants, mut blocked, linger } = plan;
        if !link.features.immediate {
            link.settler.returned().await;
        }
        let claim = Claim::new(&wants, link.features.longest_wait, &self.signal.interrupt);
        let claimed = link.store.claim(claim);
        tokio::pin!(claimed);
        let mut linger = linger;
        let claimed = loop {
            tokio::select! {
                biased;
                claimed = &mut claimed => break claimed?,
                () = room(&blocked), if !blocked.is_empty() => {
                    blocked.retain(|consumer| self.channel.offer(consumer) == Offer::NoRoom);
                    self.signal.interrupt.fire();
                }
                () = sleep_until(linger.unwrap_or_else(Instant::now)), if linger.is_some() => {
                    linger = None;
                    self.signal.interrupt.fire();
                }
            }
        };
        let poll = link.options.polling_interval.or(link.features.poll);
        if let (true, Some(poll)) = (claimed.is_empty(), poll) {
            self.pause(poll).await;
        }
        Ok(claimed)
    }

    async fn pause(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.signal.interrupt.fired() => {}
        }
    }

    /// Hands claimed messages to the consumers, in turn; what nobody has room for goes back.
    async fn take_in(&self, claimed: Vec<Claimed<S::Receipt>>) {
        if claimed.is_empty() {
            return;
        }
        let consumers: Consumers<S> =
            self.channel.consumers().into_iter().filter(|one| self.is_mine(one)).collect();
        let back = match consumers.as_slice() {
            [only] if claimed.len() <= only.room() && fits(only, &claimed) => {
                only.claimed(claimed.len());
                self.channel.hand_over(only, claimed)
            }
            _ => self.share(&consumers, claimed),
        };
        if !back.is_empty() {
            settle::settle(&self.channel.link, back.into_iter().map(Job::unseen).collect()).await;
        }
    }

    fn share(
        &self,
        consumers: &Consumers<S>,
        claimed: Vec<Claimed<S::Receipt>>,
    ) -> Vec<Claimed<S::Receipt>> {
        let mut back = Vec::new();
        let mut shares: Vec<Vec<_>> = consumers.iter().map(|_| Vec::new()).collect();
        let mut next = self.turn;
        for message in claimed {
            let fits = |at: &usize, no_ack: Option<bool>| {
                consumers.get(*at).is_some_and(|consumer| {
                    consumer.queue == message.queue
                        && no_ack.is_none_or(|wanted| wanted == consumer.no_ack)
                        && consumer.room() > 0
                })
            };
            let mut order = (0..consumers.len()).map(|step| (next + step) % consumers.len());
            let taker = order
                .clone()
                .find(|at| fits(at, Some(message.receipt.is_none())))
                .or_else(|| order.find(|at| fits(at, None)));
            match taker {
                Some(at) => {
                    next = at + 1;
                    if let (Some(consumer), Some(share)) = (consumers.get(at), shares.get_mut(at)) {
                        consumer.claimed(1);
                        share.push(message);
                    }
                }
                None => back.push(message),
            }
        }
        for (consumer, share) in consumers.iter().zip(shares) {
            back.extend(self.channel.hand_over(consumer, share));
        }
        back
    }
}

fn fits<R>(consumer: &Consumer<R>, claimed: &[Claimed<R>]) -> bool {
    claimed.iter().all(|message| {
        Arc::ptr_eq(&message.queue, &consumer.queue) || message.queue == consumer.queue
    })
}

/// Waits until one of the sinks has room or is gone. Cancel safe.
async fn room<R>(blocked: &[Arc<Consumer<R>>]) {
    if blocked.is_empty() {
        return std::future::pending().await;
    }
    select_all(blocked.iter().map(|consumer| Box::pin(consumer.sink.reserve()))).await;
}

/// What became of a consumer's backlog.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Offer {
    /// It is delivered.
    Taken,
    NoRoom,
    /// The receiver is gone.
    Gone,
}

impl<S: Store> Channel<S> {
    /// Gives a consumer new messages, behind those that wait for it. Those that come too late come
    /// back.
    fn hand_over(
        self: &Arc<Self>,
        consumer: &Arc<Consumer<S::Receipt>>,
        mut claimed: Vec<Claimed<S::Receipt>>,
    ) -> Vec<Claimed<S::Receipt>> {
        if claimed.is_empty() {
            return claimed;
        }
        {
            let mut backlog = lock(&consumer.backlog);
            if consumer.is_gone() {
                consumer.released(claimed.len());
                return claimed;
            }
            if backlog.is_empty() {
                *backlog = claimed;
            } else {
                backlog.append(&mut claimed);
            }
        }
        if self.offer(consumer) == Offer::Gone {
            self.drop_consumer(consumer);
        }
        Vec::new()
    }

    /// Delivers a consumer's backlog if its sink has room. A tag exists exactly for what is
    /// delivered.
    fn offer(&self, consumer: &Arc<Consumer<S::Receipt>>) -> Offer {
        let mut backlog = lock(&consumer.backlog);
        if consumer.is_gone() || consumer.sink.is_closed() {
            return Offer::Gone;
        }
        if backlog.is_empty() {
            return Offer::Taken;
        }
        let now = Instant::now();
        let mut unsettled = lock(&self.unsettled);
        let mut deliveries = Vec::with_capacity(backlog.len());
        for claimed in backlog.drain(..) {
            let letters = consumer.letters.as_ref();
            let held = deliver(claimed, Some(consumer), letters, now, &mut deliveries);
            let tag = unsettled.push(held);
            if let Some(delivery) = deliveries.last_mut() {
                delivery.tag = tag;
            }
        }
        let tags = deliveries.first().map(|first| first.tag);
        let Err(refused) = consumer.sink.try_deliver(deliveries) else {
            if let (true, Some(first)) = (consumer.no_ack, tags) {
                let delivered = unsettled.take_since(first);
                drop((unsettled, backlog));
                self.acknowledge(consumer, delivered);
            }
            return Offer::Taken;
        };
        for delivery in refused {
            let held = unsettled.take(delivery.tag);
            let mut claimed =
                Claimed::new(delivery.queue, held.and_then(|held| held.receipt), delivery.message);
            claimed.exchange = delivery.exchange;
            claimed.routing_key = delivery.routing_key;
            claimed.redelivered = delivery.redelivered;
            claimed.delivery_count = delivery.delivery_count;
            backlog.push(claimed);
        }
        if consumer.sink.is_closed() { Offer::Gone } else { Offer::NoRoom }
    }

    /// Settles what a consumer takes without settling, where the store still holds it.
    fn acknowledge(&self, consumer: &Consumer<S::Receipt>, delivered: Vec<Held<S::Receipt>>) {
        consumer.released(delivered.len());
        let link = &self.link;
        let jobs: Vec<_> = delivered
            .into_iter()
            .filter(|held| held.receipt.is_some() && !link.features.claim_forgets)
            .map(|held| Job::new(held, Outcome::Ack))
            .collect();
        if !jobs.is_empty() {
            self.send(jobs);
        }
    }
}

/// The first pause after a failed claim; it doubles with each one up to 64 times.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long a loop without anything to claim waits before it looks for receivers that are gone.
const A_WHILE: Duration = Duration::from_secs(1);
