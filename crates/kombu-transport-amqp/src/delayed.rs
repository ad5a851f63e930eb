//! Messages for a later time, on RabbitMQ, with the exchanges and queues of Kombu 5.7.
//!
//! There are 28 levels. Level *n* holds a message for 2ⁿ seconds, or passes it on at once, as the
//! *n*th binary digit at the head of its routing key says; below level 0 it comes to the delivery
//! exchange, and from there to the queues that were bound with [`DelayedDelivery::bind`]. All that
//! is on the broker: publisher and consumer may go and come meanwhile.
//!
//! `Publication::delay` uses the same levels, and needs nothing of this module: it takes any
//! exchange and queue as they are. Use the module to receive what Python's Kombu delays, and to
//! publish to consumers in Python that have bound their queues to it.
//!
//! ```
//! use std::time::Duration;
//! use kombu_transport_amqp::delayed::{DelayedDelivery, delayed_routing_key};
//! let delayed = DelayedDelivery::new();
//! assert_eq!(delayed.publish_exchange(), "celery_delayed_27");
//! let key = delayed_routing_key(Duration::from_secs(5), "video")?;
//! assert!(key.ends_with("0.0.1.0.1.video"));
//! # Ok::<(), kombu_core::Error>(())
//! ```
//!
//! With the handles of `kombu-core`:
//!
//! ```no_run
//! # async fn example(connection: kombu_core::Connection) -> kombu_core::Result<()> {
//! # use std::time::Duration;
//! # use kombu_core::{Exchange, Queue};
//! # use kombu_transport_amqp::delayed::{DelayedDelivery, delayed_routing_key};
//! let videos = Queue::new("video").bind(Exchange::topic("media"), "video");
//! connection.declare_queue(&videos).await?;
//! let delayed = DelayedDelivery::new();
//! let channel = connection.channel().raw().await?;
//! delayed.declare(&*channel).await?;
//! delayed.bind(&*channel, &videos).await?;
//!
//! let producer = connection.producer().await?;
//! let key = delayed_routing_key(Duration::from_secs(60), "video")?;
//! producer.publish(&"cats").to(delayed.publish_exchange(), key).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Kombu
//!
//! `kombu.transport.native_delayed_delivery`. A delay out of range, which there makes a key that
//! routes nowhere, is an error here; so is a queue that has only direct exchanges, which cannot
//! work and there is a warning.

use std::time::Duration;

use kombu_core::transport::{BindQueue, ExchangeBinding, RawChannel};
use kombu_core::{Binding, Error, ErrorKind, Exchange, ExchangeType, Queue, Result};

use crate::names;

/// The exchanges and queues that hold messages for later.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DelayedDelivery {
    prefix: String,
    queue_type: LevelQueues,
}

impl DelayedDelivery {
    /// Those without prefix, on quorum queues: Celery's.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of their own: all names start with the prefix and `_`. Default: none.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Which queues hold the messages. Default: quorum queues.
    ///
    /// The broker refuses to declare them again with the other kind.
    #[must_use]
    pub fn queue_type(mut self, queue_type: LevelQueues) -> Self {
        self.queue_type = queue_type;
        self
    }

    /// The exchange to publish to, with the key of [`delayed_routing_key`].
    #[must_use]
    pub fn publish_exchange(&self) -> String {
        self.level(MAX_LEVEL)
    }

    /// The exchange where messages arrive when their time has come.
    #[must_use]
    pub fn delivery_exchange(&self) -> String {
        self.named("celery_delayed_delivery")
    }

    /// Declares everything. Again is no error.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` if something of these names exists with other properties, such as the
    /// other type of queue; those of the link.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves some of it declared; declare it again.
    pub async fn declare(&self, channel: &dyn RawChannel) -> Result<()> {
        for level in (0..=MAX_LEVEL).rev() {
            let name = self.level(level);
            channel.declare_exchange(&Exchange::topic(&name)).await?;
            channel.declare_queue(&self.level_queue(level)).await?;
            let digit_is_1 = Binding::new(Exchange::topic(&name), digit_pattern(level, '1'));
            channel.bind_queue(&BindQueue::new(name, digit_is_1)).await?;
        }
        channel.declare_exchange(&Exchange::topic(self.delivery_exchange())).await?;
        for level in (0..=MAX_LEVEL).rev() {
            let from = Exchange::topic(self.level(level));
            let digit_is_0 = Binding::new(from, digit_pattern(level, '0'));
            channel.bind_exchange(&ExchangeBinding::new(self.below(level), digit_is_0)).await?;
        }
        Ok(())
    }

    /// Makes delayed messages reach a queue through the exchanges that it is bound to, with the
    /// keys of these bindings. Exchange and queue must exist. Its consumers see the routing key
    /// with the digits before it.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the queue has no binding, or only bindings to direct exchanges: they
    /// compare the whole key, digits included. `NotFound` if something does not exist.
    ///
    /// # Cancel safety
    ///
    /// As for [`declare`](Self::declare).
    pub async fn bind(&self, channel: &dyn RawChannel, queue: &Queue) -> Result<()> {
        let mut bound = 0;
        for binding in queue.bindings() {
            let exchange = binding.exchange();
            if *exchange.kind() == ExchangeType::Direct {
                tracing::warn!(
                    queue = queue.name(),
                    exchange = exchange.name(),
                    "delayed messages cannot come through a direct exchange"
                );
                continue;
            }
            let key = match binding.routing_key() {
                key if key.starts_with('#') => key.to_owned(),
                key => format!("#.{key}"),
            };
            let arrived = Binding::new(Exchange::topic(self.delivery_exchange()), &key);
            channel.bind_exchange(&ExchangeBinding::new(exchange.name(), arrived)).await?;
            let target = BindQueue::new(queue.name(), Binding::new(exchange, key));
            channel.bind_queue(&target).await?;
            bound += 1;
        }
        if bound > 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidArgument,
            "no binding of the queue can carry delayed messages; bind it to a topic, fanout or \
             headers exchange",
        )
        .during("bind for delayed delivery")
        .with("queue", queue.name()))
    }

    fn level_queue(&self, level: u32) -> Queue {
        self.queue_for(&self.level(level))
            .argument("x-message-ttl", (1_i64 << level) * 1000)
            .argument("x-dead-letter-exchange", self.below(level))
    }

    /// A queue that hands its messages on when their time is over, losing none.
    pub(crate) fn queue_for(&self, name: &str) -> Queue {
        let queue = Queue::new(name)
            .argument("x-queue-type", self.queue_type.name())
            .argument("x-overflow", "reject-publish");
        match self.queue_type {
            LevelQueues::Classic => queue,
            LevelQueues::Quorum => queue.argument("x-dead-letter-strategy", "at-least-once"),
        }
    }

    /// Where messages go that leave a level.
    fn below(&self, level: u32) -> String {
        level.checked_sub(1).map_or_else(|| self.delivery_exchange(), |below| self.level(below))
    }

    fn level(&self, level: u32) -> String {
        self.named(&format!("celery_delayed_{level}"))
    }

    fn named(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}_{name}", self.prefix) }
    }
}

/// The queues of the levels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LevelQueues {
    /// On one node, and dead-lettered at most once.
    Classic,
    /// Replicated, and dead-lettered at least once.
    #[default]
    Quorum,
}

impl LevelQueues {
    fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }
}

/// The routing key that delays a message: the delay as 28 binary digits, then `routing_key`. A
/// part of a second counts as a whole one.
///
/// Digits that the key has from an earlier delay are replaced.
///
/// # Errors
///
/// `InvalidArgument` for a delay of zero or of 2²⁸ s and more (8½ years), for an empty key, and
/// for one that is too long with its digits (more than 199 bytes).
pub fn delayed_routing_key(delay: Duration, routing_key: &str) -> Result<String> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() > 0));
    if seconds == 0 || seconds > MAX_DELAY {
        return Err(wrong(format!("a delay of {seconds} s; it can be 1 s to {MAX_DELAY} s")));
    }
    let routing_key = without_digits(routing_key);
    if routing_key.is_empty() {
        return Err(wrong("a delayed message needs a routing key".to_owned()));
    }
    let mut key = String::with_capacity(2 * DIGITS + routing_key.len());
    for digit in (0..=MAX_LEVEL).rev() {
        key.push(if seconds >> digit & 1 == 1 { '1' } else { '0' });
        key.push('.');
    }
    key.push_str(routing_key);
    names::check("delayed routing key", &key)?;
    Ok(key)
}

fn without_digits(routing_key: &str) -> &str {
    let Some((digits, rest)) = routing_key.split_at_checked(2 * DIGITS) else {
        return routing_key;
    };
    let is_digits = digits.as_bytes().chunks(2).all(|pair| matches!(pair, [b'0' | b'1', b'.']));
    if is_digits { rest } else { routing_key }
}

/// The pattern for keys whose digit of that level is `digit`.
fn digit_pattern(level: u32, digit: char) -> String {
    let mut pattern = "*.".repeat(usize::try_from(MAX_LEVEL - level).unwrap_or_default());
    pattern.push(digit);
    pattern.push_str(".#");
    pattern
}

const MAX_LEVEL: u32 = 27;
const DIGITS: usize = 28;
const MAX_DELAY: u64 = (1 << 28) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_delay_in_28_digits() {
        // `calculate_routing_key(174, "destination")` of Kombu 5.7.
        let zeros = "0.".repeat(20);
        assert_eq!(
            delayed_routing_key(Duration::from_secs(174), "destination").unwrap(),
            format!("{zeros}1.0.1.0.1.1.1.0.destination")
        );
        let longest = delayed_routing_key(Duration::from_secs(MAX_DELAY), "a.b").unwrap();
        assert_eq!(longest, format!("{}a.b", "1.".repeat(28)));
        let soon = delayed_routing_key(Duration::from_millis(1), "k").unwrap();
        assert_eq!(soon, format!("{}1.k", "0.".repeat(27)));
    }

    #[test]
    fn digits_of_an_earlier_delay_are_replaced() {
        let first = delayed_routing_key(Duration::from_secs(5), "k").unwrap();
        let second = delayed_routing_key(Duration::from_secs(6), &first).unwrap();
        assert_eq!(second, delayed_routing_key(Duration::from_secs(6), "k").unwrap());
        let like_digits = "1.".repeat(27) + "k";
        let key = delayed_routing_key(Duration::from_secs(1), &like_digits).unwrap();
        assert!(key.ends_with(&like_digits));
    }

    #[test]
    fn what_cannot_be_delayed_is_refused() {
        for (delay, key) in [
            (Duration::ZERO, "k".to_owned()),
            (Duration::from_secs(MAX_DELAY + 1), "k".to_owned()),
            (Duration::MAX, "k".to_owned()),
            (Duration::from_secs(1), String::new()),
            (Duration::from_secs(1), "1.".repeat(28)),
            (Duration::from_secs(1), "k".repeat(200)),
        ] {
            let error = delayed_routing_key(delay, &key).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        assert!(delayed_routing_key(Duration::from_secs(1), &"k".repeat(199)).is_ok());
    }

    #[test]
    fn names_and_arguments_are_kombus() {
        let delayed = DelayedDelivery::new().prefix("p").queue_type(LevelQueues::Classic);
        assert_eq!(delayed.delivery_exchange(), "p_celery_delayed_delivery");
        let last = delayed.level_queue(0);
        assert_eq!(last.name(), "p_celery_delayed_0");
        let argument = |name| last.arguments().get(name).and_then(|value| value.as_str());
        assert_eq!(argument("x-dead-letter-exchange"), Some("p_celery_delayed_delivery"));
        assert_eq!(argument("x-dead-letter-strategy"), None);
        let first = DelayedDelivery::new().level_queue(27);
        assert_eq!(first.name(), "celery_delayed_27");
        let ttl = first.arguments().get("x-message-ttl").and_then(|value| value.as_i64());
        assert_eq!(ttl, Some(134_217_728_000));
        assert_eq!(digit_pattern(27, '1'), "1.#");
        assert_eq!(digit_pattern(25, '0'), "*.*.0.#");
    }
}
