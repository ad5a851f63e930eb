//! The interface that transports implement (SPI). Programs never need it; authors of transports do.
//!
//! Three object-safe traits: a [`Transport`] connects, a [`RawConnection`] opens channels, a
//! [`RawChannel`] does the messaging. A broker that knows exchanges and bindings implements
//! `RawChannel` itself; a plain store of queues implements the smaller `Store` of `kombu-virtual`.
//!
//! Each bullet under `# Behavior` has a case in the suite `kombu-conformance`.

mod capabilities;
mod confirm;
mod params;
mod registry;
mod request;
mod sink;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

pub use capabilities::{Capabilities, PriorityOrder};
pub use confirm::{Confirm, ConfirmSender};
pub use params::ConnectParams;
pub use registry::{KNOWN_SCHEMES, TransportRegistry};
pub use request::{
    BindQueue, Consume, ConsumerTag, DeleteExchange, DeleteQueue, DeliveryTag, ExchangeBinding,
    Get, Outcome, Publish, QueueInfo, RawDelivery, ServerInfo, Settle,
};
pub(crate) use sink::{Batch, Notice};
pub use sink::{Inbox, Sink, sink};

use crate::entity::{Exchange, Queue};
use crate::error::{Error, Result};

/// A family of brokers: makes connections for its URL schemes.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// The transport's name, such as `amqp`: Kombu's pip extra, the crate's suffix, the feature.
    fn name(&self) -> &'static str;

    /// The URL schemes it serves, in full (`mongodb+srv` is one scheme).
    fn schemes(&self) -> &'static [&'static str];

    /// What its brokers can do. One connection may know more exactly: see
    /// [`RawConnection::capabilities`].
    fn capabilities(&self) -> Capabilities;

    /// Connects to one broker.
    ///
    /// # Behavior
    ///
    /// - `unknown_option_is_refused`: options that it does not know are an error that lists those
    ///   it knows.
    /// - `connect_has_a_deadline`: it gives up after the connect timeout of the [parameters](ConnectParams::connection).
    /// - `wrong_password_says_so`: refused credentials are `AccessRefused`, not recoverable.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` for a broker that cannot be reached, `AccessRefused`, `Tls`, `Timeout`,
    /// `InvalidArgument` for options.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the attempt and closes what was opened.
    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>>;
}

/// One link to a broker.
///
/// All heartbeats, pings and lease renewals are its own background work, and end with it.
#[async_trait]
pub trait RawConnection: Debug + Send + Sync + 'static {
    /// What this broker can do, at this version.
    fn capabilities(&self) -> Capabilities;

    /// What the broker says it is.
    fn server(&self) -> ServerInfo;

    /// Opens a channel: an independent sequence of calls and deliveries.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` when the link is gone; `PreconditionFailed` when the broker allows no more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future frees what was opened.
    async fn open_channel(&self) -> Result<Arc<dyn RawChannel>>;

    /// Asks the broker for a sign of life: one round trip.
    ///
    /// # Errors
    ///
    /// `ConnectionLost` when none comes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn ping(&self) -> Result<()>;

    /// Waits until the link is dead, and says why. Resolves at once on a link that is dead, with
    /// `Closed` when [`close`](Self::close) ended it. Any number of callers may wait.
    ///
    /// # Behavior
    ///
    /// - `frozen_broker_is_noticed`: a broker that stops answering is dead after two heartbeats.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn lost(&self) -> Error;

    /// Ends the link: channels are closed, unsettled messages go back to their queues.
    /// Closing twice is no error.
    ///
    /// # Errors
    ///
    /// `Timeout` when the broker does not answer; the link is gone all the same.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, what was held may come back later than it could.
    async fn close(&self) -> Result<()>;
}

/// A sequence of calls and deliveries on a link.
///
/// # Behavior
///
/// - `calls_can_be_dropped`: dropping the future of any call leaves the channel usable; the call
///   may or may not have happened. In particular no message is lost by it.
/// - `calls_run_concurrently`: all methods may be called from several tasks at once.
/// - An error with scope `Channel` means this channel is dead; scope `Connection`, the link too.
#[async_trait]
pub trait RawChannel: Debug + Send + Sync + 'static {
    /// Declares an exchange, or checks that it exists if it is passive.
    ///
    /// # Behavior
    ///
    /// - `redeclare_is_idempotent`; `redeclare_with_other_type_is_refused` (`PreconditionFailed`).
    /// - `passive_declare_of_missing_is_not_found`, for exchanges and queues.
    /// - `unclaimed_exchange_type_is_unsupported`: a type without its capability is `Unsupported`.
    ///
    /// # Errors
    ///
    /// As above, and `AccessRefused`.
    ///
    /// # Cancel safety
    ///
    /// As the trait says: for this and all calls below.
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()>;

    /// Deletes an exchange; a missing one is no error.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` with `if_unused` when something is bound to it.
    async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()>;

    /// Binds an exchange to another one.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Unsupported` where `exchange_bindings` is not claimed.
    async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<()>;

    /// Takes such a binding away; a missing one is no error.
    ///
    /// # Errors
    ///
    /// As for binding.
    async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<()>;

    /// Declares a queue without its bindings. An empty name makes the broker choose one.
    ///
    /// # Errors
    ///
    /// `NotFound` for a missing passive queue, `PreconditionFailed` for other properties,
    /// `ResourceLocked` for another connection's exclusive queue.
    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo>;

    /// Deletes a queue and says how many messages went with it; a missing one is no error.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` with `if_unused` or `if_empty` when it is used or not empty.
    async fn delete_queue(&self, delete: &DeleteQueue) -> Result<u64>;

    /// Drops the messages that wait in a queue, and says how many.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    async fn purge(&self, queue: &str) -> Result<u64>;

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    ///
    /// `NotFound` when either is missing.
    async fn bind_queue(&self, binding: &BindQueue) -> Result<()>;

    /// Takes a binding away; a missing one is no error.
    ///
    /// # Errors
    ///
    /// `NotFound` when the queue or exchange is missing, where the broker says so.
    async fn unbind_queue(&self, binding: &BindQueue) -> Result<()>;

    /// Publishes a message. Returns as soon as the message has its place in the order of this
    /// channel; the [`Confirm`] resolves when the broker has taken responsibility for it.
    /// Publishes in flight share round trips. Waits while too many are in flight.
    ///
    /// # Behavior
    ///
    /// - `publishes_keep_their_order`; `confirm_means_stored`.
    /// - `mandatory_unroutable_is_an_error` (`Unroutable`), where `mandatory` is claimed.
    /// - `publish_to_missing_exchange_is_not_found`.
    /// - `delayed_message_comes_when_it_is_due`, and not before, where `delayed_delivery` is claimed.
    ///
    /// # Errors
    ///
    /// Errors of the message itself come from the confirm.
    async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm>;

    /// Takes one message if one waits, without waiting for one.
    ///
    /// # Errors
    ///
    /// `NotFound` for a missing queue.
    async fn get(&self, get: &Get) -> Result<Option<RawDelivery>>;

    /// Starts a consumer that delivers into the request's [`Sink`].
    ///
    /// # Behavior
    ///
    /// - `prefetch_bounds_the_unsettled`: at most `prefetch` messages of this consumer are
    ///   unsettled (0: no limit); `two_consumers_share_a_queue`.
    /// - `dropped_consumer_loses_nothing`: what was fetched and not settled goes back.
    ///
    /// # Errors
    ///
    /// `NotFound` for a missing queue, `ResourceLocked` for an exclusive one.
    async fn consume(&self, consume: Consume) -> Result<()>;

    /// Ends a consumer. No delivery enters its sink after this returned; what was delivered stays
    /// unsettled until it is settled or the channel closes.
    ///
    /// # Errors
    ///
    /// Those of the link only; an unknown tag is no error.
    async fn cancel(&self, tag: &ConsumerTag) -> Result<()>;

    /// Settles one delivery, or with `multiple` all up to it. Never waits: settlements are
    /// gathered and sent together, at the latest a millisecond later or at [`flush`](Self::flush).
    /// The [`Confirm`] resolves when the broker has it, or has been sent it where brokers do not
    /// answer (AMQP).
    ///
    /// # Behavior
    ///
    /// - `requeued_message_comes_back_first`, to the queue it came from, marked redelivered.
    /// - `settling_twice_is_an_error` (`MessageState`).
    ///
    /// # Errors
    ///
    /// `MessageState` for an unknown tag, `StaleDelivery` when the channel is dead.
    fn settle(&self, settle: Settle) -> Result<Confirm>;

    /// Hints that the caller is about to wait: gathered settlements and publishes go out now.
    fn flush(&self);

    /// Waits until all settlements made so far have been sent.
    ///
    /// # Errors
    ///
    /// Those of the link.
    async fn settled(&self) -> Result<()>;

    /// Gives all unsettled messages back to their queues (AMQP `basic.recover` with requeue).
    ///
    /// # Errors
    ///
    /// Those of the link only.
    async fn recover(&self) -> Result<()>;

    /// Waits until the channel is dead, and says why; like [`RawConnection::lost`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    async fn lost(&self) -> Error;

    /// Closes the channel: gathered settlements are sent, consumers end, unsettled messages go
    /// back at once. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// Those of the link only.
    async fn close(&self) -> Result<()>;
}
