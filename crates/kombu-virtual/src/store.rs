//! What a broker that knows no AMQP must offer: a store of queues, in batches.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kombu_core::transport::{Outcome, Publish, ServerInfo};
use kombu_core::{Error, ErrorKind, ExchangeType, Message, Queue, Result};

use crate::interrupt::Interrupt;
use crate::presence::Presence;
use crate::routing::Targets;
use crate::topology::Topology;

/// A store of queues.
///
/// The layer above owns routing, prefetch, the unsettled messages, lease renewal and the order of
/// calls. It calls from its own tasks and never drops a call half way, so implementations need no
/// cancel safety.
///
/// All methods may be called from several tasks at once.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Names a claimed message for [`settle`](Self::settle) and [`renew`](Self::renew): a row id,
    /// a receipt handle, a path.
    type Receipt: Clone + Debug + Send + Sync + 'static;

    /// The transport's name, for the texts of errors.
    fn transport(&self) -> &'static str;

    /// What this store can do. Read once, when the connection starts.
    fn features(&self) -> StoreFeatures;

    /// Where exchanges and bindings are kept: in the broker, or a
    /// [`LocalTopology`](crate::LocalTopology).
    fn topology(&self) -> &dyn Topology;

    /// Who uses the queues, where several connections share a broker in this process. Without one
    /// the layer knows the connection's own consumers only.
    fn presence(&self) -> Option<Arc<Presence>> {
        None
    }

    /// What the broker is.
    fn server(&self) -> ServerInfo;

    /// Makes a queue; one that exists is no error.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` where the store keeps a queue's properties and they differ,
    /// `InvalidArgument` for a name that it cannot hold.
    async fn create_queue(&self, queue: &Queue) -> Result<()>;

    /// Whether the queue exists. A store that cannot tell says yes.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn queue_exists(&self, queue: &str) -> Result<bool>;

    /// Deletes a queue with its messages, and says how many were waiting.
    ///
    /// # Errors
    ///
    /// Those of the broker; a missing queue is none.
    async fn delete_queue(&self, queue: &str) -> Result<u64>;

    /// Drops the waiting messages, and says how many.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn purge(&self, queue: &str) -> Result<u64>;

    /// How many messages wait; an estimate where the broker has no better.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn size(&self, queue: &str) -> Result<u64>;

    /// Says that this connection's first consumer of a queue is about to start: the moment to
    /// subscribe, where a broker wants that.
    ///
    /// # Errors
    ///
    /// Those of the broker; the consumer is then not started.
    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        let _ = queue;
        Ok(())
    }

    /// Says that this connection's last consumer of a queue has ended.
    async fn end_consuming(&self, queue: &str) {
        let _ = queue;
    }

    /// Stores messages, in order, and answers for each: one answer per element, in the same order.
    /// An answer of `Ok` is a promise that the message is kept as well as this store keeps any, in
    /// all its queues.
    ///
    /// A message with [`Publish::due_later`], which comes only where `delayed_delivery` is promised,
    /// is kept apart until then: no claim, size or purge of a queue sees it before.
    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>>;

    /// Stores one message at once; called instead of [`put`](Self::put) where
    /// [`StoreFeatures::immediate`] is set.
    ///
    /// # Errors
    ///
    /// Those of [`put`](Self::put), which the default calls.
    fn put_now(&self, put: Put) -> Result<()> {
        let answers = self.put(vec![put]).now_or_never();
        answers.and_then(|mut answers| answers.pop()).unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Protocol, "the store claims to be immediate and is not"))
        })
    }

    /// Takes messages and records them as unsettled, in one step that cannot be half done.
    ///
    /// Takes at most [`Want::limit`] from each queue and is fair between them. When nothing is
    /// there it waits up to [`Claim::wait`] for something, less when the [`Interrupt`] fires and
    /// it can stop without dropping an answer in flight. It returns as soon as it has anything,
    /// and looks at the queues at least once even when the interrupt has fired already.
    ///
    /// The first queue of the claim is another one each time, so that a store which serves them
    /// in order is fair all the same.
    ///
    /// # Errors
    ///
    /// Those of the broker. A message that cannot be read is not an error: it is set aside or
    /// returned as [`Claimed::broken`].
    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Self::Receipt>>>;

    /// Settles claimed messages; one answer per element, in the same order.
    ///
    /// `Requeue` puts the message back to the head of its queue, where the store can; those of
    /// one batch come in the order in which they were delivered, and are to be delivered in that
    /// order again. `Reject` forgets the message: the layer has already dead-lettered it where
    /// its queue asks for that. `Ack` never comes where [`StoreFeatures::claim_forgets`] is set.
    async fn settle(&self, batch: Vec<Settlement<Self::Receipt>>) -> Vec<Result<()>>;

    /// Extends the lease of messages still held by [`StoreFeatures::lease`] from now. Called well
    /// before they end; never called where there are no leases.
    ///
    /// # Errors
    ///
    /// Those of the broker; a lease that was lost in the meantime is none.
    async fn renew(&self, receipts: Vec<Self::Receipt>) -> Result<()> {
        let _ = receipts;
        Ok(())
    }

    /// Gives back what dead consumers held, and other upkeep. Called again
    /// [`StoreFeatures::maintenance`] after it returned. A store may wait in it for the time when
    /// there is something to do, and should return when the interrupt fires.
    ///
    /// # Errors
    ///
    /// Those of the broker; they are logged and the next call is made in time.
    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        let _ = interrupt;
        Ok(())
    }

    /// One round trip.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` when the broker does not answer.
    async fn ping(&self) -> Result<()>;

    /// Waits until the broker is lost for good, where the store cannot reconnect by itself. An
    /// error with the scope `Connection` from any other call means the same.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe: it is the one call that the layer drops.
    async fn lost(&self) -> Error {
        std::future::pending().await
    }

    /// Lets go of the broker. Called once, after everything was settled.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn close(&self) -> Result<()>;
}

/// What a store can do, and how it wants to be called.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreFeatures {
    /// Calls never wait, so the layer makes them in the caller's own task. Default: false.
    pub immediate: bool,
    /// How long a claim holds without renewal. `None`: for as long as the connection lives.
    /// Default: `None`.
    pub lease: Option<Duration>,
    /// How often [`Store::maintain`] is called. Default: never.
    pub maintenance: Option<Duration>,
    /// The longest useful [`Claim::wait`]. Default: 1 s.
    pub longest_wait: Duration,
    /// How long to pause between two claims that found nothing, for stores that cannot wait.
    /// Default: no pause.
    pub poll: Option<Duration>,
    /// Whether each queue is claimed by a loop of its own, rather than all queues of a channel by
    /// one. Default: false.
    pub loop_per_queue: bool,
    /// Whether a message is forgotten when it is claimed, so that `Ack` needs no call: dropping
    /// the receipt is enough. Default: false.
    pub claim_forgets: bool,
    /// Whether a message for the default exchange makes its queue, as in Kombu; otherwise one for
    /// a queue that nobody declared is unroutable, as in AMQP. Default: true.
    pub implicit_queues: bool,
    /// The types of exchanges whose messages the broker itself hands to the queues: see
    /// [`Targets::exchanges`]. Default: none.
    pub native_exchanges: &'static [ExchangeType],
    /// The most messages in one [`Store::put`]. Default: 1000.
    pub put_batch: usize,
    /// The most messages that one [`Store::claim`] asks for from one queue. Default: 1000.
    pub claim_batch: usize,
    /// The most messages in one [`Store::settle`] or [`Store::renew`]. Default: 1000.
    pub settle_batch: usize,
}

impl Default for StoreFeatures {
    fn default() -> Self {
        Self {
            immediate: false,
            lease: None,
            maintenance: None,
            longest_wait: Duration::from_secs(1),
            poll: None,
            loop_per_queue: false,
            claim_forgets: false,
            implicit_queues: true,
            native_exchanges: &[],
            put_batch: 1000,
            claim_batch: 1000,
            settle_batch: 1000,
        }
    }
}

/// A message to store in one queue or several.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Put {
    /// Where it goes.
    pub targets: Arc<Targets>,
    /// The message, where it was published to and with which key.
    pub publish: Arc<Publish>,
}

impl Put {
    /// A message for these targets.
    #[must_use]
    pub fn new(targets: Arc<Targets>, publish: Arc<Publish>) -> Self {
        Self { targets, publish }
    }
}

/// What to take.
#[derive(Debug)]
#[non_exhaustive]
pub struct Claim<'a> {
    /// From which queues, how many.
    pub wants: &'a [Want],
    /// How long to wait for the first message.
    pub wait: Duration,
    /// Fires when waiting should end early.
    pub interrupt: &'a Interrupt,
}

impl<'a> Claim<'a> {
    /// A claim.
    #[must_use]
    pub fn new(wants: &'a [Want], wait: Duration, interrupt: &'a Interrupt) -> Self {
        Self { wants, wait, interrupt }
    }
}

/// How many messages to take from one queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Want {
    /// The queue.
    pub queue: Arc<str>,
    /// The most messages, at least 1.
    pub limit: usize,
    /// Whether taking settles: the store may forget the message at once.
    pub no_ack: bool,
}

impl Want {
    /// So many messages of that queue.
    #[must_use]
    pub fn new(queue: Arc<str>, limit: usize, no_ack: bool) -> Self {
        Self { queue, limit, no_ack }
    }
}

/// A message that was taken.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claimed<R> {
    /// The queue it came from.
    pub queue: Arc<str>,
    /// Names it; `None` when there is nothing to settle: it was taken with `no_ack`, or the store
    /// cannot take it back. Given back, such a message is put into its queue anew.
    pub receipt: Option<R>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it was delivered before, where the store counts.
    pub delivery_count: Option<u32>,
    /// The message.
    pub message: Message,
    /// Why the stored form could not be read; the message's body is then the stored bytes.
    pub broken: Option<String>,
}

impl<R> Claimed<R> {
    /// A message of a queue, delivered for the first time.
    #[must_use]
    pub fn new(queue: Arc<str>, receipt: Option<R>, message: Message) -> Self {
        Self {
            queue,
            receipt,
            exchange: String::new(),
            routing_key: String::new(),
            redelivered: false,
            delivery_count: None,
            message,
            broken: None,
        }
    }
}

/// What happens to a claimed message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settlement<R> {
    /// The queue it came from.
    pub queue: Arc<str>,
    /// The message.
    pub receipt: R,
    /// What happens to it.
    pub outcome: Outcome,
    /// Whether a consumer saw it. A message that goes back unseen need not be marked redelivered.
    pub delivered: bool,
}

impl<R> Settlement<R> {
    /// Settles the message of that receipt, which a consumer has seen.
    #[must_use]
    pub fn new(queue: Arc<str>, receipt: R, outcome: Outcome) -> Self {
        Self { queue, receipt, outcome, delivered: true }
    }

    /// Gives back a message that no consumer saw.
    #[must_use]
    pub fn unseen(queue: Arc<str>, receipt: R) -> Self {
        Self { queue, receipt, outcome: Outcome::Requeue, delivered: false }
    }
}
