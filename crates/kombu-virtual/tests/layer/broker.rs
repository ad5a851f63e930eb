//! A store for tests: a broker behind a slow and unreliable link, with leases if wanted.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::{
    Capabilities, Consume, ConsumerTag, Inbox, Outcome, Publish, RawChannel, RawConnection,
    RawDelivery, ServerInfo, sink,
};
use kombu_core::{Error, ErrorKind, Message, Properties, Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, LocalTopology, Put, Settlement, Store, StoreFeatures, Topology,
    VirtualConnection, VirtualOptions, Want,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How the broker and the way to it are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knobs {
    /// Seeds the delays of calls, up to 3 ms each way; without it there are none.
    pub(crate) seed: Option<u64>,
    pub(crate) lease: Option<Duration>,
    pub(crate) loop_per_queue: bool,
    pub(crate) settle_batch: Option<usize>,
    /// Whether a claim goes on waiting when it is interrupted.
    pub(crate) stubborn: bool,
    pub(crate) maintenance: Option<Duration>,
}

/// What the broker saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The sizes of the batches.
    pub(crate) puts: Vec<usize>,
    pub(crate) settles: Vec<usize>,
    /// The queues of each claim, in its order.
    pub(crate) claims: Vec<Vec<String>>,
    pub(crate) renewals: usize,
    pub(crate) maintained: usize,
    pub(crate) consuming: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct TestBroker {
    knobs: Knobs,
    state: Mutex<State>,
    pub(crate) topology: LocalTopology,
    pub(crate) seen: Mutex<Seen>,
    random: AtomicU64,
    arrived: Notify,
    lost: Notify,
    /// How many of the next calls fail.
    pub(crate) failing_claims: AtomicUsize,
    pub(crate) failing_puts: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<String, VecDeque<Stored>>,
    held: BTreeMap<u64, Held>,
    receipts: u64,
}

#[derive(Clone, Debug)]
struct Stored {
    publish: Arc<Publish>,
    deliveries: u32,
}

#[derive(Debug)]
struct Held {
    queue: String,
    stored: Stored,
    until: Option<Instant>,
}

impl TestBroker {
    pub(crate) fn new(knobs: Knobs) -> Arc<Self> {
        let random = AtomicU64::new(knobs.seed.unwrap_or(1).wrapping_mul(0x9e37_79b9) | 1);
        Arc::new(Self {
            knobs,
            state: Mutex::default(),
            topology: LocalTopology::new(),
            seen: Mutex::default(),
            random,
            arrived: Notify::new(),
            lost: Notify::new(),
            failing_claims: AtomicUsize::new(0),
            failing_puts: AtomicUsize::new(0),
        })
    }

    pub(crate) fn connect(self: &Arc<Self>) -> Arc<dyn RawConnection> {
        self.connect_with(VirtualOptions::new())
    }

    pub(crate) fn connect_with(
        self: &Arc<Self>,
        options: VirtualOptions,
    ) -> Arc<dyn RawConnection> {
        let mut promised = Capabilities::default();
        promised.direct = true;
        promised.dead_letter = true;
        promised.mandatory = true;
        VirtualConnection::start(Arc::new(TestStore(Arc::clone(self))), options, promised)
    }

    pub(crate) async fn channel(self: &Arc<Self>) -> Arc<dyn RawChannel> {
        self.connect().open_channel().await.unwrap()
    }

    /// The bodies that wait in a queue.
    pub(crate) fn waiting(&self, queue: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let text = |stored: &Stored| text_of(&stored.publish.message);
        state.queues.get(queue).map_or_else(Vec::new, |queue| queue.iter().map(text).collect())
    }

    /// How many messages are claimed and not settled.
    pub(crate) fn held(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// Breaks the link for good.
    pub(crate) fn lose(&self) {
        self.lost.notify_waiters();
    }

    pub(crate) fn random(&self, below: u64) -> u64 {
        // A linear congruential generator is random enough for delays.
        let step = |value: u64| value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        let before =
            self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |v| Some(step(v)));
        (step(before.unwrap()) >> 33) % below
    }

    pub(crate) fn pick<T: Copy, const N: usize>(&self, from: [T; N]) -> T {
        from[usize::try_from(self.random(N as u64)).unwrap()]
    }

    async fn travel(&self) {
        if self.knobs.seed.is_some() {
            match self.random(4) {
                0 => tokio::task::yield_now().await,
                millis => sleep(Duration::from_millis(millis)).await,
            }
        }
    }

    fn take(&self, wants: &[Want]) -> Vec<Claimed<u64>> {
        let mut state = self.state.lock().unwrap();
        state.reclaim();
        let mut claimed = Vec::new();
        for want in wants {
            for _ in 0..want.limit {
                let next = state.queues.get_mut(&*want.queue).and_then(VecDeque::pop_front);
                let Some(stored) = next else { break };
                state.receipts += 1;
                let receipt = state.receipts;
                let publish = Publish::clone(&stored.publish);
                let deliveries = stored.deliveries;
                if !want.no_ack {
                    let until = self.knobs.lease.map(|lease| Instant::now() + lease);
                    let queue = want.queue.as_ref().to_owned();
                    state.held.insert(receipt, Held { queue, stored, until });
                }
                let receipt = (!want.no_ack).then_some(receipt);
                let mut message = Claimed::new(Arc::clone(&want.queue), receipt, publish.message);
                message.exchange = publish.exchange;
                message.routing_key = publish.routing_key;
                message.redelivered = deliveries > 0;
                if message.message.body == "broken" {
                    message.broken = Some("it says so".to_owned());
                }
                claimed.push(message);
            }
        }
        claimed
    }
}

impl State {
    /// Gives back messages whose lease is over.
    fn reclaim(&mut self) {
        let now = Instant::now();
        let over: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| held.until.is_some_and(|until| until <= now))
            .map(|(receipt, _)| *receipt)
            .collect();
        for receipt in over {
            self.give_back(receipt, true);
        }
    }

    fn give_back(&mut self, receipt: u64, delivered: bool) {
        let Some(mut held) = self.held.remove(&receipt) else { return };
        held.stored.deliveries += u32::from(delivered);
        if let Some(queue) = self.queues.get_mut(&held.queue) {
            queue.push_front(held.stored);
        }
    }
}

/// One connection to the broker.
#[derive(Debug)]
struct TestStore(Arc<TestBroker>);

#[async_trait]
impl Store for TestStore {
    type Receipt = u64;

    fn transport(&self) -> &'static str {
        "test"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.lease = self.0.knobs.lease;
        features.loop_per_queue = self.0.knobs.loop_per_queue;
        features.maintenance = self.0.knobs.maintenance;
        features.longest_wait = Duration::from_secs(20);
        features.put_batch = 50;
        features.settle_batch = self.0.knobs.settle_batch.unwrap_or(1000);
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.0.topology
    }

    fn server(&self) -> ServerInfo {
        ServerInfo::default()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        self.0.state.lock().unwrap().queues.entry(queue.name().to_owned()).or_default();
        Ok(())
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        Ok(self.0.state.lock().unwrap().queues.contains_key(queue))
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        let queue = self.0.state.lock().unwrap().queues.remove(queue);
        Ok(queue.map_or(0, |queue| queue.len() as u64))
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let queue = self.0.state.lock().unwrap().queues.get_mut(queue).map(std::mem::take);
        Ok(queue.map_or(0, |queue| queue.len() as u64))
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        Ok(self.0.waiting(queue).len() as u64)
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        self.0.seen.lock().unwrap().consuming.push(format!("begin {queue}"));
        Ok(())
    }

    async fn end_consuming(&self, queue: &str) {
        self.0.seen.lock().unwrap().consuming.push(format!("end {queue}"));
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        self.0.travel().await;
        self.0.seen.lock().unwrap().puts.push(batch.len());
        let mut answers = Vec::new();
        for put in batch {
            if spend(&self.0.failing_puts) {
                answers.push(Err(Error::new(ErrorKind::Other, "the disk is full")));
                continue;
            }
            let mut state = self.0.state.lock().unwrap();
            for queue in &put.targets.queues {
                let stored = Stored { publish: Arc::clone(&put.publish), deliveries: 0 };
                state.queues.entry(queue.as_ref().to_owned()).or_default().push_back(stored);
            }
            answers.push(Ok(()));
        }
        self.0.arrived.notify_waiters();
        self.0.travel().await;
        answers
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<u64>>> {
        let queues = claim.wants.iter().map(|want| want.queue.to_string()).collect();
        self.0.seen.lock().unwrap().claims.push(queues);
        self.0.travel().await;
        if spend(&self.0.failing_claims) {
            return Err(Error::new(ErrorKind::Timeout, "the broker is busy"));
        }
        let deadline = Instant::now() + claim.wait;
        loop {
            let arrived = self.0.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            let claimed = self.0.take(claim.wants);
            let interrupted = claim.interrupt.is_fired() && !self.0.knobs.stubborn;
            if !claimed.is_empty() || interrupted || Instant::now() >= deadline {
                // From here on the messages are on their way.
                self.0.travel().await;
                return Ok(claimed);
            }
            tokio::select! {
                () = arrived => {}
                () = claim.interrupt.fired(), if !self.0.knobs.stubborn => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<u64>>) -> Vec<Result<()>> {
        self.0.travel().await;
        self.0.seen.lock().unwrap().settles.push(batch.len());
        let answers = batch.iter().map(|_| Ok(())).collect();
        {
            let mut state = self.0.state.lock().unwrap();
            for settlement in batch.into_iter().rev() {
                match settlement.outcome {
                    Outcome::Requeue => state.give_back(settlement.receipt, settlement.delivered),
                    _ => drop(state.held.remove(&settlement.receipt)),
                }
            }
        }
        self.0.arrived.notify_waiters();
        self.0.travel().await;
        answers
    }

    async fn renew(&self, receipts: Vec<u64>) -> Result<()> {
        self.0.seen.lock().unwrap().renewals += receipts.len();
        let mut state = self.0.state.lock().unwrap();
        for receipt in receipts {
            if let Some(held) = state.held.get_mut(&receipt) {
                held.until = self.0.knobs.lease.map(|lease| Instant::now() + lease);
            }
        }
        Ok(())
    }

    async fn maintain(&self, _: &Interrupt) -> Result<()> {
        self.0.seen.lock().unwrap().maintained += 1;
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn lost(&self) -> Error {
        self.0.lost.notified().await;
        Error::lost("the wire was cut")
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// Counts down; true while there was something.
fn spend(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

pub(crate) fn publication(queue: &str, body: &str) -> Arc<Publish> {
    let message = Message::new(body.to_owned(), Properties::new());
    Arc::new(Publish::new("", queue, message))
}

/// Publishes numbers from 0 on, and waits for all.
pub(crate) async fn fill(channel: &dyn RawChannel, queue: &str, count: usize) {
    let mut confirms = Vec::new();
    for number in 0..count {
        confirms.push(channel.publish(publication(queue, &number.to_string())).await.unwrap());
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
}

pub(crate) async fn consume(
    channel: &dyn RawChannel,
    queue: &str,
    prefetch: u16,
    batches: usize,
) -> Inbox {
    let (sink, inbox) = sink(batches);
    let mut consume = Consume::new(queue, ConsumerTag::new(queue), sink);
    consume.prefetch = prefetch;
    channel.consume(consume).await.unwrap();
    inbox
}

pub(crate) async fn receive(inbox: &mut Inbox, count: usize) -> Vec<RawDelivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(soon(inbox.next()).await.expect("the consumer ended"));
    }
    all
}

pub(crate) fn text(delivery: &RawDelivery) -> String {
    text_of(&delivery.message)
}

fn text_of(message: &Message) -> String {
    String::from_utf8(message.body.to_vec()).unwrap()
}

/// Waits, with a limit that only a hang reaches.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(600), work).await.expect("nothing came in time")
}
