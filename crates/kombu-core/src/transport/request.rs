//! What is asked of a channel, and what it hands out. Structs, so that a new field breaks nobody.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::Sink;
use crate::entity::Binding;
use crate::message::Message;
use crate::value::Table;

/// Names a consumer on its channel.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConsumerTag(Arc<str>);

impl ConsumerTag {
    /// A tag of that text.
    #[must_use]
    pub fn new(tag: impl Into<Arc<str>>) -> Self {
        Self(tag.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConsumerTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Numbers the deliveries of a channel, rising from 1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "a number and nothing else, as in AMQP")]
pub struct DeliveryTag(pub u64);

impl fmt::Display for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! request {
    ($(#[$doc:meta])+ $name:ident($($required:ident: $type:ty),+) {
        $($(#[$field_doc:meta])+ $field:ident: $field_type:ty),* $(,)?
    } { $($optional:ident: $default:expr),* $(,)? }) => {
        $(#[$doc])+
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])+ pub $field: $field_type),* }

        impl $name {
            /// The request with its required parts; the other fields have their defaults.
            #[must_use]
            pub fn new($($required: $type),+) -> Self {
                Self { $($required: $required.into(),)+ $($optional: $default),* }
            }
        }
    };
}

request! {
    /// Deletes an exchange.
    DeleteExchange(name: impl Into<String>) {
        /// The exchange.
        name: String,
        /// Only if nothing is bound to it. Default: false.
        if_unused: bool,
    } { if_unused: false }
}

request! {
    /// Deletes a queue.
    DeleteQueue(name: impl Into<String>) {
        /// The queue.
        name: String,
        /// Only if it has no consumers. Default: false.
        if_unused: bool,
        /// Only if no message waits in it. Default: false.
        if_empty: bool,
    } { if_unused: false, if_empty: false }
}

request! {
    /// A binding of the exchange `destination` to the exchange in `binding`.
    ExchangeBinding(destination: impl Into<String>, binding: Binding) {
        /// The exchange that receives.
        destination: String,
        /// The exchange that gives, the key and the arguments.
        binding: Binding,
    } {}
}

request! {
    /// A binding of a queue to an exchange.
    BindQueue(queue: impl Into<String>, binding: Binding) {
        /// The queue.
        queue: String,
        /// The exchange, the key and the arguments.
        binding: Binding,
    } {}
}

request! {
    /// Publishes a message.
    Publish(exchange: impl Into<String>, routing_key: impl Into<String>, message: Message) {
        /// The exchange; empty for the default exchange.
        exchange: String,
        /// The routing key; with the default exchange, the queue's name.
        routing_key: String,
        /// The message.
        message: Message,
        /// Whether it is an error when no queue takes it. Default: false.
        mandatory: bool,
        /// When it is to be delivered; a time that has come is now. Set only where
        /// `delayed_delivery` is claimed. Default: now.
        due: Option<Instant>,
    } { mandatory: false, due: None }
}

request! {
    /// Takes one message.
    Get(queue: impl Into<String>) {
        /// The queue.
        queue: String,
        /// Whether taking settles it. Default: false.
        no_ack: bool,
    } { no_ack: false }
}

request! {
    /// Starts a consumer.
    Consume(queue: impl Into<Arc<str>>, tag: ConsumerTag, sink: Sink) {
        /// The queue.
        queue: Arc<str>,
        /// The consumer's name on this channel.
        tag: ConsumerTag,
        /// Where deliveries go.
        sink: Sink,
        /// Whether delivery settles. Default: false.
        no_ack: bool,
        /// Whether it is to be the queue's only consumer. Default: false.
        exclusive: bool,
        /// The most unsettled messages; 0 is no limit. Default: 0.
        prefetch: u16,
        /// Arguments, such as `x-priority`. Default: none.
        arguments: Table,
    } { no_ack: false, exclusive: false, prefetch: 0, arguments: Table::new() }
}

impl Publish {
    /// When it is to be delivered, if that is later than now.
    #[must_use]
    pub fn due_later(&self) -> Option<Instant> {
        self.due.filter(|due| *due > Instant::now())
    }
}

/// What happens to a delivered message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is done with.
    Ack,
    /// It is given up: dead-lettered where the queue has a dead letter exchange, else dropped.
    Reject,
    /// It goes back to the head of the queue that it came from.
    Requeue,
}

/// Settles a delivery.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Settle {
    /// The delivery.
    pub tag: DeliveryTag,
    /// What happens to it.
    pub outcome: Outcome,
    /// Whether all unsettled deliveries of the channel up to this one are meant.
    pub multiple: bool,
}

impl Settle {
    /// Settles one delivery.
    #[must_use]
    pub fn one(tag: DeliveryTag, outcome: Outcome) -> Self {
        Self { tag, outcome, multiple: false }
    }

    /// Settles all unsettled deliveries up to and with this one.
    #[must_use]
    pub fn up_to(tag: DeliveryTag, outcome: Outcome) -> Self {
        Self { tag, outcome, multiple: true }
    }
}

/// A declared queue.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct QueueInfo {
    /// Its name, chosen by the broker if none was given.
    pub name: String,
    /// How many messages wait, as far as the broker knows.
    pub messages: u64,
    /// How many consumers it has; 0 where the broker does not count them.
    pub consumers: u32,
}

impl QueueInfo {
    /// The answer to a declaration.
    #[must_use]
    pub fn new(name: impl Into<String>, messages: u64, consumers: u32) -> Self {
        Self { name: name.into(), messages, consumers }
    }
}

/// What a broker says it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The product, such as `RabbitMQ`.
    pub product: String,
    /// Its version; empty if unknown.
    pub version: String,
}

impl ServerInfo {
    /// A product and its version.
    #[must_use]
    pub fn new(product: impl Into<String>, version: impl Into<String>) -> Self {
        Self { product: product.into(), version: version.into() }
    }
}

/// A message on its way to the user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RawDelivery {
    /// Names this delivery for [`RawChannel::settle`](super::RawChannel::settle).
    pub tag: DeliveryTag,
    /// The consumer it is for; empty for a message taken with `get`.
    pub consumer: ConsumerTag,
    /// The queue that it came from.
    pub queue: Arc<str>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it was delivered before, where the broker counts.
    pub delivery_count: Option<u32>,
    /// The message.
    pub message: Message,
}

impl RawDelivery {
    /// A first delivery of a message.
    #[must_use]
    pub fn new(tag: DeliveryTag, consumer: ConsumerTag, queue: Arc<str>, message: Message) -> Self {
        Self {
            tag,
            consumer,
            queue,
            exchange: String::new(),
            routing_key: String::new(),
            redelivered: false,
            delivery_count: None,
            message,
        }
    }
}
