//! Publishing.

mod publication;
mod ready;
mod reply;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

pub(crate) use publication::COMPRESSION_HEADER;
pub use publication::{IntoTarget, Publication, Target};

use crate::channel::Channel;
use crate::entity::DeliveryMode;
use crate::error::Result;
use crate::message::Message;

/// Publishes messages on a channel of its own. Cheap to clone; clones share the channel.
///
/// Every publish is confirmed by the broker before it returns. Publish from several tasks, or hold
/// several futures at once, to have many in flight: they share round trips. Futures held at once
/// may overtake each other; [`publish_batch`](Self::publish_batch) and [`Publication::submit`] keep
/// the order.
///
/// ```no_run
/// # async fn example(connection: kombu_core::Connection) -> kombu_core::Result<()> {
/// use kombu_core::Exchange;
/// let producer = connection.producer().await?.serializer("json");
/// producer.publish(&"hello").to(&Exchange::direct("media"), "video").priority(5).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Kombu
///
/// `kombu.Producer`. Publishes are confirmed and have a deadline by default.
#[derive(Clone)]
pub struct Producer {
    channel: Channel,
    defaults: Arc<Defaults>,
}

/// What publications of a producer start from.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    target: Target,
    routing_key: String,
    serializer: Option<String>,
    compression: Option<String>,
    delivery_mode: Option<DeliveryMode>,
    mandatory: bool,
    timeout: Duration,
    retry: bool,
}

impl Producer {
    pub(crate) fn new(channel: Channel) -> Self {
        let timeout = channel.shared().settings.publish_timeout;
        Self {
            channel,
            defaults: Arc::new(Defaults {
                target: Target::default(),
                routing_key: String::new(),
                serializer: None,
                compression: None,
                delivery_mode: None,
                mandatory: false,
                timeout,
                retry: true,
            }),
        }
    }

    /// Where publications go that do not say so themselves. Default: the default exchange.
    #[must_use]
    pub fn exchange(self, target: impl IntoTarget) -> Self {
        self.with(|defaults| defaults.target = target.into_target())
    }

    /// The routing key of publications that have none. Default: empty.
    #[must_use]
    pub fn routing_key(self, routing_key: impl Into<String>) -> Self {
        self.with(|defaults| defaults.routing_key = routing_key.into())
    }

    /// The serializer, by name. Default: Kombu's rule, which is plain text for a text, raw bytes
    /// for bytes, and JSON for anything else.
    #[must_use]
    pub fn serializer(self, name: impl Into<String>) -> Self {
        self.with(|defaults| defaults.serializer = Some(name.into()))
    }

    /// The compression, by name. Default: none.
    #[must_use]
    pub fn compression(self, name: impl Into<String>) -> Self {
        self.with(|defaults| defaults.compression = Some(name.into()))
    }

    /// Whether messages outlive a restart of the broker. Default: the exchange's, else persistent.
    #[must_use]
    pub fn delivery_mode(self, mode: DeliveryMode) -> Self {
        self.with(|defaults| defaults.delivery_mode = Some(mode))
    }

    /// Whether it is an error when no queue takes a message. Default: false.
    #[must_use]
    pub fn mandatory(self, mandatory: bool) -> Self {
        self.with(|defaults| defaults.mandatory = mandatory)
    }

    /// How long one publish may take in all: waiting for a link, declaring, sending, the confirm.
    /// Default: 30 s.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|defaults| defaults.timeout = timeout)
    }

    /// Whether a publish whose link broke is made again on the next one. It may then arrive twice;
    /// without, it may have arrived although it failed. Default: true.
    #[must_use]
    pub fn retry(self, retry: bool) -> Self {
        self.with(|defaults| defaults.retry = retry)
    }

    /// Starts a publication of a value, serialized now.
    pub fn publish<T: Serialize + ?Sized>(&self, body: &T) -> Publication {
        let codecs = &self.channel.shared().settings.bodies.codecs;
        let encoded = codecs.encode(self.defaults.serializer.as_deref(), body);
        Publication::encoded(self.clone(), encoded)
    }

    /// Starts a publication of bytes that are serialized already.
    pub fn publish_raw(
        &self,
        body: impl Into<Bytes>,
        content_type: impl Into<Cow<'static, str>>,
        content_encoding: impl Into<Cow<'static, str>>,
    ) -> Publication {
        Publication::raw(self.clone(), body.into(), content_type.into(), content_encoding.into())
    }

    /// Starts a publication of a whole message, as it is: its body is neither serialized nor
    /// compressed.
    pub fn publish_message(&self, message: Message) -> Publication {
        Publication::whole(self.clone(), message)
    }

    /// Publishes many messages in order and waits for all confirms; they share round trips. One
    /// result per publication, in the same order.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: any of them may have been published.
    pub async fn publish_batch(
        &self,
        publications: impl IntoIterator<Item = Publication> + Send,
    ) -> Vec<Result<()>> {
        ready::batch(publications).await
    }

    /// Opens the producer's channel now; it also opens at its first use.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::open`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn open(&self) -> Result<()> {
        self.channel.open().await
    }

    /// The channel that it publishes on.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    fn with(mut self, change: impl FnOnce(&mut Defaults)) -> Self {
        change(Arc::make_mut(&mut self.defaults));
        self
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("defaults", &self.defaults).finish_non_exhaustive()
    }
}
