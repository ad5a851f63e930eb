//! Exchanges.

use std::fmt;

use crate::value::{Table, Value};

/// How an exchange chooses the queues for a message (AMQP 0-9-1 section 3.1.3).
#[non_exhaustive]
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum ExchangeType {
    /// The routing key equals the binding key.
    #[default]
    Direct,
    /// Every bound queue.
    Fanout,
    /// The message's headers match the binding's arguments.
    Headers,
    /// Dotted words with `*` for one word and `#` for any number of them.
    Topic,
    /// A type that a broker's plug-in adds, such as `x-delayed-message`.
    Other(String),
}

impl ExchangeType {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::Topic => "topic",
            Self::Other(name) => name,
        }
    }
}

impl From<&str> for ExchangeType {
    fn from(name: &str) -> Self {
        match name {
            "direct" | "" => Self::Direct,
            "fanout" => Self::Fanout,
            "headers" => Self::Headers,
            "topic" => Self::Topic,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ExchangeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the broker keeps a message over its own restart.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "AMQP defines these two")]
pub enum DeliveryMode {
    /// May be lost with the broker (1).
    Transient,
    /// Kept on disk by a durable queue (2), Kombu's default.
    #[default]
    Persistent,
}

impl DeliveryMode {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Transient => 1,
            Self::Persistent => 2,
        }
    }

    /// The mode of a number on the wire; everything but 1 is persistent.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        if number == 1 { Self::Transient } else { Self::Persistent }
    }
}

/// A named place that messages are published to, and that hands them to queues.
///
/// Defaults are Kombu's: durable, not auto-deleted.
///
/// ```
/// use kombu_core::Exchange;
/// let media = Exchange::topic("media").durable(false);
/// assert_eq!(media.name(), "media");
/// ```
///
/// # Kombu
///
/// `kombu.entity.Exchange`. Equality covers every field here, arguments included, so the cache of
/// declared entities notices a changed declaration; Kombu hashes the name only.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    name: String,
    kind: ExchangeType,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    passive: bool,
    declare: bool,
    delivery_mode: Option<DeliveryMode>,
    arguments: Table,
}

impl Exchange {
    /// An exchange of any type.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: impl Into<ExchangeType>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            durable: true,
            auto_delete: false,
            internal: false,
            passive: false,
            declare: true,
            delivery_mode: None,
            arguments: Table::new(),
        }
    }

    /// An exchange that routes by an equal key.
    #[must_use]
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeType::Direct)
    }

    /// An exchange that routes by dotted patterns.
    #[must_use]
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeType::Topic)
    }

    /// An exchange that gives every bound queue a copy.
    #[must_use]
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeType::Fanout)
    }

    /// An exchange that routes by message headers.
    #[must_use]
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, ExchangeType::Headers)
    }

    /// The exchange without a name, which routes to the queue that the routing key names.
    #[must_use]
    pub fn default_exchange() -> Self {
        Self::direct("")
    }

    /// Whether it outlives a restart of the broker. Default: true.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether it goes when its last queue is unbound. Default: false.
    #[must_use]
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Whether only other exchanges may publish to it. Default: false.
    #[must_use]
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// Whether declaring it only checks that it exists. Default: false.
    #[must_use]
    pub fn passive(mut self, passive: bool) -> Self {
        self.passive = passive;
        self
    }

    /// Never declares it, not even along with a queue. Kombu's `no_declare`.
    #[must_use]
    pub fn no_declare(mut self) -> Self {
        self.declare = false;
        self
    }

    /// The mode of messages published to it that do not set their own. Default: persistent.
    #[must_use]
    pub fn delivery_mode(mut self, mode: DeliveryMode) -> Self {
        self.delivery_mode = Some(mode);
        self
    }

    /// Adds a declaration argument, such as `alternate-exchange`.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value);
        self
    }

    /// The name; empty for the default exchange.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> &ExchangeType {
        &self.kind
    }

    /// Whether it is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether it is deleted with its last binding.
    #[must_use]
    pub fn is_auto_delete(&self) -> bool {
        self.auto_delete
    }

    /// Whether only exchanges may publish to it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.internal
    }

    /// Whether declaring only checks.
    #[must_use]
    pub fn is_passive(&self) -> bool {
        self.passive
    }

    /// Whether it is to be declared at all: it has a name, is not one of the broker's own
    /// (`amq.…`), and was not excluded.
    #[must_use]
    pub fn is_declared(&self) -> bool {
        self.declare && !self.name.is_empty() && !self.name.starts_with("amq.")
    }

    /// The mode for its messages, if set.
    #[must_use]
    pub fn message_mode(&self) -> Option<DeliveryMode> {
        self.delivery_mode
    }

    /// The declaration arguments.
    #[must_use]
    pub fn arguments(&self) -> &Table {
        &self.arguments
    }
}

impl From<&Self> for Exchange {
    fn from(exchange: &Self) -> Self {
        exchange.clone()
    }
}
