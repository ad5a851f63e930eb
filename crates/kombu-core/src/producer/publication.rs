//! One publication: what is said about it.

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::Producer;
use super::ready::Ready;
use crate::codec::Encoded;
use crate::connection::Entity;
use crate::entity::{DeliveryMode, Exchange, Queue};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Properties};
use crate::observe::Publishing;
use crate::transport::{Confirm, Publish};
use crate::value::{Table, Value};

/// The header in which Kombu names a body's compression.
pub(crate) const COMPRESSION_HEADER: &str = "compression";

/// Where a message is published to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Target {
    /// An exchange that is declared first, unless the connection has declared it already.
    Exchange(Arc<Exchange>),
    /// An exchange by name, which must exist; empty is the default exchange.
    Name(String),
}

impl Target {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Exchange(exchange) => exchange.name(),
            Self::Name(name) => name,
        }
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

/// What can be published to: an [`Exchange`], or the name of one.
pub trait IntoTarget {
    /// The target.
    fn into_target(self) -> Target;
}

impl IntoTarget for Target {
    fn into_target(self) -> Target {
        self
    }
}

impl IntoTarget for &Exchange {
    fn into_target(self) -> Target {
        Target::Exchange(Arc::new(self.clone()))
    }
}

impl IntoTarget for Exchange {
    fn into_target(self) -> Target {
        Target::Exchange(Arc::new(self))
    }
}

impl IntoTarget for &str {
    fn into_target(self) -> Target {
        Target::Name(self.to_owned())
    }
}

impl IntoTarget for String {
    fn into_target(self) -> Target {
        Target::Name(self)
    }
}

/// A publication under construction; awaiting it publishes.
///
/// It resolves when the broker has confirmed the message. While the link is down it waits for a new
/// one, and publishes again when the link broke before the confirm, until its
/// [`timeout`](Self::timeout).
///
/// # Errors
///
/// `Encode` for a body that cannot be serialized, `NotFound` for a missing exchange, `Unroutable`
/// with [`mandatory`](Self::mandatory), `Nacked` when the broker refused it, `Timeout`, and those of
/// declaring and connecting.
///
/// # Cancel safety
///
/// Not cancel safe: when the future is dropped, the message may or may not be published.
#[must_use = "a publication does nothing until it is awaited"]
pub struct Publication {
    producer: Producer,
    /// Boxed, for every setter moves the publication.
    parts: Box<Parts>,
}

struct Parts {
    body: Result<Body>,
    properties: Box<Properties>,
    target: Option<Target>,
    routing_key: Option<String>,
    compression: Option<String>,
    delivery_mode: Option<DeliveryMode>,
    mandatory: Option<bool>,
    timeout: Option<Duration>,
    due: Option<Due>,
    declare: Vec<Entity>,
}

struct Body {
    bytes: Bytes,
    /// Whether nothing may be changed about it.
    whole: bool,
}

impl Publication {
    pub(super) fn encoded(producer: Producer, encoded: Result<Encoded>) -> Self {
        match encoded {
            Ok(encoded) => {
                Self::raw(producer, encoded.body, encoded.content_type, encoded.content_encoding)
            }
            Err(error) => Self::new(producer, Err(error), Box::default()),
        }
    }

    pub(super) fn raw(
        producer: Producer,
        bytes: Bytes,
        content_type: Cow<'static, str>,
        content_encoding: Cow<'static, str>,
    ) -> Self {
        let mut properties = Box::<Properties>::default();
        properties.content_type = Some(content_type);
        properties.content_encoding = Some(content_encoding);
        Self::new(producer, Ok(Body { bytes, whole: false }), properties)
    }

    pub(super) fn whole(producer: Producer, message: Message) -> Self {
        let mode = message.properties.delivery_mode;
        let publication =
            Self::new(producer, Ok(Body { bytes: message.body, whole: true }), message.properties);
        publication.delivery_mode(mode)
    }

    fn new(producer: Producer, body: Result<Body>, properties: Box<Properties>) -> Self {
        let parts = Parts {
            body,
            properties,
            target: None,
            routing_key: None,
            compression: None,
            delivery_mode: None,
            mandatory: None,
            timeout: None,
            due: None,
            declare: Vec::new(),
        };
        Self { producer, parts: Box::new(parts) }
    }

    /// Where it goes, and with which key. An [`Exchange`] is declared first, as is Kombu's way.
    pub fn to(mut self, target: impl IntoTarget, routing_key: impl Into<String>) -> Self {
        self.parts.target = Some(target.into_target());
        self.parts.routing_key = Some(routing_key.into());
        self
    }

    /// Sends it straight to a queue, through the default exchange; the queue is declared first.
    pub fn to_queue(self, queue: &Queue) -> Self {
        self.to("", queue.name()).declare(queue)
    }

    /// The routing key, for the producer's own exchange.
    pub fn routing_key(mut self, routing_key: impl Into<String>) -> Self {
        self.parts.routing_key = Some(routing_key.into());
        self
    }

    /// Declares an exchange or queue first, unless the connection has declared it already.
    pub fn declare(mut self, entity: impl Into<Entity>) -> Self {
        self.parts.declare.push(entity.into());
        self
    }

    /// The priority. Default: 0.
    pub fn priority(mut self, priority: u8) -> Self {
        self.parts.properties.priority = priority;
        self
    }

    /// Sets a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parts.properties.headers.insert(name, value);
        self
    }

    /// Sets many headers.
    pub fn headers(mut self, headers: Table) -> Self {
        self.parts.properties.headers.extend(headers);
        self
    }

    /// How long the message may wait in a queue, in whole milliseconds.
    pub fn expires(mut self, after: Duration) -> Self {
        self.parts.properties.expiration = Some(after.as_millis().to_string());
        self
    }

    /// Has the broker keep the message for so long, and deliver it then. Exchange and routing key
    /// take effect when it is delivered, or already now: see the transport.
    ///
    /// A broker that cannot do so (`Capabilities::delayed_delivery`) is an error, `Unsupported`;
    /// the message is never delivered at once instead. RabbitMQ counts whole seconds, rounded up.
    ///
    /// ```
    /// # use kombu_transport_memory::MemoryTransport;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kombu_core::Result<()> {
    /// # use std::time::{Duration, SystemTime};
    /// # use kombu_core::{Connection, Queue};
    /// # let connection =
    /// #     Connection::builder("memory://").transport(MemoryTransport::new()).connect().await?;
    /// let queue = Queue::new("reminders");
    /// let producer = connection.producer().await?;
    /// producer.publish(&"tea").to_queue(&queue).delay(Duration::from_millis(20)).await?;
    /// assert!(connection.get("reminders").await?.is_none());
    /// let mut consumer = connection.consumer(&queue).start().await?;
    /// assert!(consumer.next().await.is_some());
    /// # connection.close().await
    /// # }
    /// ```
    ///
    /// # Kombu
    ///
    /// Kombu 5.7 has the exchanges of RabbitMQ for it (`kombu.transport.native_delayed_delivery`)
    /// and leaves the rest to Celery.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.parts.due = Some(Due::After(delay));
        self
    }

    /// As [`delay`](Self::delay), until a time by this machine's clock. One that is past means now.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.parts.due = Some(Due::At(time));
        self
    }

    /// Whether the message outlives a restart of the broker. Default: the producer's, the
    /// exchange's, else persistent.
    pub fn delivery_mode(mut self, mode: DeliveryMode) -> Self {
        self.parts.delivery_mode = Some(mode);
        self
    }

    /// The queue that awaits the answer.
    pub fn reply_to(mut self, queue: impl Into<String>) -> Self {
        self.parts.properties.reply_to = Some(queue.into());
        self
    }

    /// Which request this answers, or what its answer is to carry.
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.parts.properties.correlation_id = Some(id.into());
        self
    }

    /// A name for the message.
    pub fn message_id(mut self, id: impl Into<String>) -> Self {
        self.parts.properties.message_id = Some(id.into());
        self
    }

    /// A name for the kind of message (AMQP's `type`).
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.parts.properties.kind = Some(kind.into());
        self
    }

    /// The publishing program.
    pub fn app_id(mut self, id: impl Into<String>) -> Self {
        self.parts.properties.app_id = Some(id.into());
        self
    }

    /// When it was made, in seconds since 1970-01-01 UTC.
    pub fn timestamp(mut self, seconds: u64) -> Self {
        self.parts.properties.timestamp = Some(seconds);
        self
    }

    /// The publishing user, which brokers check.
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.parts.properties.user_id = Some(id.into());
        self
    }

    /// Changes properties that have no setter here.
    pub fn with_properties(mut self, change: impl FnOnce(&mut Properties)) -> Self {
        change(&mut self.parts.properties);
        self
    }

    /// The compression, by name. Default: the producer's.
    pub fn compression(mut self, name: impl Into<String>) -> Self {
        self.parts.compression = Some(name.into());
        self
    }

    /// Whether it is an error when no queue takes the message. Default: the producer's.
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.parts.mandatory = Some(mandatory);
        self
    }

    /// How long it may take in all. Default: the producer's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.parts.timeout = Some(timeout);
        self
    }

    /// Sends the message and returns its confirm, to be awaited later: many can be in flight from
    /// one task, in order. A message whose link breaks is not sent again.
    ///
    /// # Errors
    ///
    /// Those of the publication that come before the broker's answer.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when the future is dropped, the message may or may not be published.
    pub async fn submit(self) -> Result<Confirm> {
        let ready = self.prepare()?;
        ready.send().await.map(|sent| sent.confirm)
    }

    pub(super) fn prepare(self) -> Result<Ready> {
        let Self { producer, parts } = self;
        let parts = *parts;
        let defaults = &producer.defaults;
        let target = parts.target.unwrap_or_else(|| defaults.target.clone());
        let mut properties = parts.properties;
        let mut body = parts.body?;
        if !body.whole {
            let compression = parts.compression.as_deref().or(defaults.compression.as_deref());
            if let Some(name) = compression {
                let compressions = &producer.channel.shared().settings.bodies.compressions;
                let compressed = compressions.compress(name, &body.bytes)?;
                body.bytes = compressed.body;
                properties.headers.insert(COMPRESSION_HEADER, compressed.content_type);
            }
        }
        properties.delivery_mode = parts
            .delivery_mode
            .or(defaults.delivery_mode)
            .or(match &target {
                Target::Exchange(exchange) => exchange.message_mode(),
                Target::Name(_) => None,
            })
            .unwrap_or_default();
        let routing_key = parts.routing_key.unwrap_or_else(|| defaults.routing_key.clone());
        let mut publish =
            Publish::new(target.name(), routing_key, Message::new(body.bytes, properties));
        publish.mandatory = parts.mandatory.unwrap_or(defaults.mandatory);
        publish.due = parts.due.map(Due::instant).transpose()?;
        let transport = producer.channel.shared().transport;
        Ok(Ready {
            observed: Publishing::begin(transport, &mut publish),
            publish: Arc::new(publish),
            target,
            declare: parts.declare,
            deadline: Instant::now() + parts.timeout.unwrap_or(defaults.timeout),
            retry: defaults.retry,
            channel: producer.channel,
        })
    }
}

impl IntoFuture for Publication {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.prepare()?.publish().await })
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("target", &self.parts.target)
            .field("routing_key", &self.parts.routing_key)
            .field("properties", &self.parts.properties)
            .finish_non_exhaustive()
    }
}

/// When a message is to be delivered.
enum Due {
    After(Duration),
    At(SystemTime),
}

impl Due {
    fn instant(self) -> Result<Instant> {
        let delay = match self {
            Self::After(delay) => delay,
            Self::At(time) => time.duration_since(SystemTime::now()).unwrap_or_default(),
        };
        Instant::now().checked_add(delay).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("a delay of {delay:?} has no end"))
                .during("publish")
        })
    }
}
