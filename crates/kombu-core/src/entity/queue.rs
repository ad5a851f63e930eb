//! Queues.

use std::time::Duration;

use super::{Binding, Exchange};
use crate::value::{Table, Value};

/// A named place where messages wait for consumers.
///
/// Defaults are Kombu's: durable, shared, kept. A queue carries the bindings that are declared
/// with it.
///
/// ```
/// use kombu_core::{Exchange, Queue};
/// let media = Exchange::direct("media");
/// let videos = Queue::new("video").bind(&media, "video").max_length(10_000);
/// assert_eq!(videos.bindings().len(), 1);
/// ```
///
/// # Kombu
///
/// `kombu.entity.Queue`. Its `exchange` and `routing_key` are the first of [`Queue::bindings`];
/// `queue_arguments` is [`Queue::argument`], `consumer_arguments` is [`Queue::consumer_argument`].
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    name: String,
    bindings: Vec<Binding>,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    passive: bool,
    declare: bool,
    no_ack: bool,
    arguments: Table,
    consumer_arguments: Table,
}

impl Queue {
    /// A queue; with an empty name the broker chooses one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bindings: Vec::new(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            passive: false,
            declare: true,
            no_ack: false,
            arguments: Table::new(),
            consumer_arguments: Table::new(),
        }
    }

    /// Adds a binding that is made when the queue is declared.
    #[must_use]
    pub fn bind(self, exchange: impl Into<Exchange>, routing_key: impl Into<String>) -> Self {
        self.binding(Binding::new(exchange, routing_key))
    }

    /// Adds a binding with arguments.
    #[must_use]
    pub fn binding(mut self, binding: Binding) -> Self {
        self.bindings.push(binding);
        self
    }

    /// Whether it outlives a restart of the broker. Default: true.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether only this connection may use it; it goes with the connection. Implies
    /// auto-delete, as in Kombu. Default: false.
    #[must_use]
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self.auto_delete |= exclusive;
        self
    }

    /// Whether it goes with its last consumer. Default: false.
    #[must_use]
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete || self.exclusive;
        self
    }

    /// Whether declaring it only checks that it exists. Default: false.
    #[must_use]
    pub fn passive(mut self, passive: bool) -> Self {
        self.passive = passive;
        self
    }

    /// Never declares it, nor its bindings. Kombu's `no_declare`.
    #[must_use]
    pub fn no_declare(mut self) -> Self {
        self.declare = false;
        self
    }

    /// Whether its consumers take messages without settling them. Default: false.
    #[must_use]
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }

    /// Deletes the queue after this long without use (`x-expires`, whole milliseconds).
    #[must_use]
    pub fn expires(self, after: Duration) -> Self {
        self.argument("x-expires", millis(after))
    }

    /// Drops messages that waited this long (`x-message-ttl`, whole milliseconds).
    #[must_use]
    pub fn message_ttl(self, ttl: Duration) -> Self {
        self.argument("x-message-ttl", millis(ttl))
    }

    /// The most messages it holds (`x-max-length`).
    #[must_use]
    pub fn max_length(self, messages: u32) -> Self {
        self.argument("x-max-length", messages)
    }

    /// The most bytes of bodies it holds (`x-max-length-bytes`).
    #[must_use]
    pub fn max_length_bytes(self, bytes: u64) -> Self {
        self.argument("x-max-length-bytes", bytes)
    }

    /// The number of priorities it keeps apart (`x-max-priority`, 1 to 255).
    #[must_use]
    pub fn max_priority(self, levels: u8) -> Self {
        self.argument("x-max-priority", levels)
    }

    /// Makes it a replicated quorum queue (`x-queue-type: quorum`), where the broker has them.
    #[must_use]
    pub fn quorum(self) -> Self {
        self.argument("x-queue-type", "quorum")
    }

    /// Adds a declaration argument.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value);
        self
    }

    /// Adds an argument for its consumers, such as `x-priority`.
    #[must_use]
    pub fn consumer_argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.consumer_arguments.insert(name, value);
        self
    }

    /// The same queue under another name: the one the broker chose.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The name; empty if the broker is to choose.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bindings declared with it.
    #[must_use]
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// Whether it is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether one connection owns it.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Whether it goes with its last consumer.
    #[must_use]
    pub fn is_auto_delete(&self) -> bool {
        self.auto_delete
    }

    /// Whether declaring only checks.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.passive
    }

    /// Whether it is to be declared at all.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.declare
    }

    /// Whether its consumers do not settle.
    #[must_use]
    pub fn is_no_ack(&self) -> bool {
        self.no_ack
    }

    /// The declaration arguments.
    #[must_use]
    pub fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// The arguments for its consumers.
    #[must_use]
    pub fn consumer_arguments(&self) -> &Table {
        &self.consumer_arguments
    }
}

impl From<&Self> for Queue {
    fn from(queue: &Self) -> Self {
        queue.clone()
    }
}

impl From<&str> for Queue {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One queue or several: what a consumer can be started on.
pub trait IntoQueues {
    /// The queues.
    fn into_queues(self) -> Vec<Queue>;
}

impl<Q: Into<Queue>> IntoQueues for Q {
    fn into_queues(self) -> Vec<Queue> {
        vec![self.into()]
    }
}

impl<Q: Into<Queue>, const N: usize> IntoQueues for [Q; N] {
    fn into_queues(self) -> Vec<Queue> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<Q: Into<Queue>> IntoQueues for Vec<Q> {
    fn into_queues(self) -> Vec<Queue> {
        self.into_iter().map(Into::into).collect()
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
