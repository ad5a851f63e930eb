//! A received message: what it says, and how it is settled.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::codec::{Accept, Codecs};
use crate::compression::Compressions;
use crate::connection::{Lease, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Properties};
use crate::observe;
use crate::producer::COMPRESSION_HEADER;
use crate::transport::{DeliveryTag, Outcome, RawDelivery, Settle};
use crate::value::Table;

/// What is needed to read bodies.
#[derive(Clone, Debug)]
pub(crate) struct BodyContext {
    pub(crate) codecs: Codecs,
    pub(crate) compressions: Compressions,
    pub(crate) accept: Accept,
}

impl BodyContext {
    pub(crate) fn of(settings: &Settings) -> Arc<Self> {
        Arc::clone(&settings.bodies)
    }

    /// With an accept list of its own in place of the connection's.
    pub(crate) fn accepting(settings: &Settings, accept: Option<&Accept>) -> Result<Arc<Self>> {
        let mut context = Self::of(settings);
        if let Some(accept) = accept {
            accept.check(&context.codecs)?;
            Arc::make_mut(&mut context).accept = accept.clone();
        }
        Ok(context)
    }
}

/// A message that was received, and is to be settled once.
///
/// Dropping it settles nothing: the message stays unsettled, and goes back to its queue when the
/// consumer's channel closes.
///
/// # Kombu
///
/// `kombu.message.Message`. Settling twice does not compile; decoding never ends the consumer.
pub struct Delivery {
    raw: RawDelivery,
    acker: Acker,
    context: Arc<BodyContext>,
}

impl Delivery {
    pub(crate) fn new(
        raw: RawDelivery,
        no_ack: bool,
        lease: Arc<Lease>,
        context: Arc<BodyContext>,
    ) -> Self {
        let tag = (!no_ack).then_some(raw.tag);
        let in_flight = observe::received(lease.transport, &raw, no_ack);
        Self { raw, acker: Acker { lease, tag, in_flight }, context }
    }

    /// Decodes the body: decompressed, checked against the accept list, deserialized.
    ///
    /// # Errors
    ///
    /// `ContentDisallowed` for a content type that is not accepted, `Decode` for bytes that are not
    /// what they claim to be. The delivery is not settled by it.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let properties = &self.raw.message.properties;
        let body = self.body()?;
        self.context
            .codecs
            .decode(
                properties.content_type.as_deref(),
                properties.content_encoding.as_deref(),
                &body,
                &self.context.accept,
            )
            .map_err(|error| error.during("decode message").with("queue", &self.raw.queue))
    }

    /// The body, decompressed but not deserialized.
    ///
    /// # Errors
    ///
    /// `Decode` for an unknown compression, broken data, or more than the limit.
    pub fn body(&self) -> Result<Bytes> {
        match self.raw.message.properties.headers.get(COMPRESSION_HEADER) {
            None => Ok(self.raw.message.body.clone()),
            Some(method) => {
                let method = method.as_str().ok_or_else(|| {
                    Error::new(ErrorKind::Decode, "the header \"compression\" is no text")
                })?;
                self.context
                    .compressions
                    .decompress(method, &self.raw.message.body)
                    .map_err(|error| error.during("decompress message"))
            }
        }
    }

    /// The message as it came: its body may be compressed.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.raw.message
    }

    /// The message's properties.
    #[must_use]
    pub fn properties(&self) -> &Properties {
        &self.raw.message.properties
    }

    /// The message's headers.
    #[must_use]
    pub fn headers(&self) -> &Table {
        &self.raw.message.properties.headers
    }

    /// The queue that it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.raw.queue
    }

    /// The exchange that it was published to; empty for the default exchange.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.raw.exchange
    }

    /// The routing key that it was published with.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        &self.raw.routing_key
    }

    /// Whether it was delivered before.
    #[must_use]
    pub fn is_redelivered(&self) -> bool {
        self.raw.redelivered
    }

    /// How often it was delivered before, where the broker counts.
    #[must_use]
    pub fn delivery_count(&self) -> Option<u32> {
        self.raw.delivery_count
    }

    /// The number of this delivery on its channel.
    #[must_use]
    pub fn tag(&self) -> DeliveryTag {
        self.raw.tag
    }

    /// The consumer that it came to; empty for a message taken with `get`.
    #[must_use]
    pub fn consumer_tag(&self) -> &str {
        self.raw.consumer.as_str()
    }

    /// Acknowledges it: the message is done with. Returns when the acknowledgement is on its way;
    /// it is sent with others, within a millisecond.
    ///
    /// # Errors
    ///
    /// `StaleDelivery` when the link it came through is gone: the broker gives the message again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is done when first polled.
    #[expect(clippy::unused_async, reason = "settling may have to wait on transports to come")]
    pub async fn ack(self) -> Result<()> {
        self.acker.settle(Outcome::Ack)
    }

    /// Acknowledges it and all earlier unsettled deliveries of its channel.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is done when first polled.
    #[expect(clippy::unused_async, reason = "settling may have to wait on transports to come")]
    pub async fn ack_up_to(self) -> Result<()> {
        self.acker.settle_up_to(Outcome::Ack)
    }

    /// Acknowledges it, and returns when the broker has it (or has been sent it, on AMQP, where
    /// brokers do not answer).
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack), and those of the link.
    ///
    /// # Cancel safety
    ///
    /// The acknowledgement is made when first polled; dropping the future only ends the waiting.
    pub async fn ack_confirmed(self) -> Result<()> {
        self.acker.settle_confirmed(Outcome::Ack).await
    }

    /// Gives it up: dead-lettered where its queue has a dead letter exchange, else dropped.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is done when first polled.
    #[expect(clippy::unused_async, reason = "settling may have to wait on transports to come")]
    pub async fn reject(self) -> Result<()> {
        self.acker.settle(Outcome::Reject)
    }

    /// Gives it back to the head of its queue.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it is done when first polled.
    #[expect(clippy::unused_async, reason = "settling may have to wait on transports to come")]
    pub async fn requeue(self) -> Result<()> {
        self.acker.settle(Outcome::Requeue)
    }

    /// A span for the work on it, as [`observe`] says; a child of the one that
    /// published it, where trace contexts are carried. [`Worker`](crate::Worker) and
    /// [`Consumer::run`](crate::Consumer::run) do their work in one.
    #[must_use]
    pub fn span(&self) -> tracing::Span {
        observe::process(self.acker.lease.transport, &self.raw)
    }

    /// Begins the work on it.
    pub(crate) fn processing(&self) -> observe::Processing {
        observe::Processing::begin(self.acker.lease.transport, &self.raw)
    }

    /// Takes the message apart from the right to settle it.
    #[must_use]
    pub fn into_parts(self) -> (Message, Acker) {
        (self.raw.message, self.acker)
    }

    /// A second right to settle it; the first use wins.
    #[must_use]
    pub fn acker(&self) -> Acker {
        self.acker.clone()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("tag", &self.raw.tag)
            .field("queue", &self.raw.queue)
            .field("exchange", &self.raw.exchange)
            .field("routing_key", &self.raw.routing_key)
            .field("redelivered", &self.raw.redelivered)
            .field("message", &self.raw.message)
            .finish_non_exhaustive()
    }
}

/// The right to settle a delivery.
#[derive(Clone, Debug)]
pub struct Acker {
    lease: Arc<Lease>,
    /// `None` when delivery settled it.
    tag: Option<DeliveryTag>,
    in_flight: observe::InFlight,
}

impl Acker {
    /// Settles the delivery.
    ///
    /// # Errors
    ///
    /// `MessageState` when it was settled before, `StaleDelivery` when the link it came through is
    /// gone.
    pub fn settle(&self, outcome: Outcome) -> Result<()> {
        self.send(outcome, |tag| Settle::one(tag, outcome))
    }

    /// Settles the delivery and all earlier unsettled ones of its channel.
    ///
    /// # Errors
    ///
    /// As for [`settle`](Self::settle).
    pub fn settle_up_to(&self, outcome: Outcome) -> Result<()> {
        self.send(outcome, |tag| Settle::up_to(tag, outcome))
    }

    /// Settles the delivery and waits until the broker has it.
    ///
    /// # Errors
    ///
    /// As for [`settle`](Self::settle), and those of the link.
    ///
    /// # Cancel safety
    ///
    /// The settlement is made when first polled; dropping the future only ends the waiting.
    pub async fn settle_confirmed(&self, outcome: Outcome) -> Result<()> {
        let Some(tag) = self.tag else { return Ok(()) };
        let confirm = self.lease.raw.settle(Settle::one(tag, outcome))?;
        self.settled(tag, outcome);
        self.lease.raw.flush();
        confirm.await
    }

    fn send(&self, outcome: Outcome, settle: impl FnOnce(DeliveryTag) -> Settle) -> Result<()> {
        let Some(tag) = self.tag else { return Ok(()) };
        // The answer is for those who wait for it; a settlement that is lost with the link means
        // a message that comes again.
        drop(self.lease.raw.settle(settle(tag))?);
        self.settled(tag, outcome);
        Ok(())
    }

    fn settled(&self, tag: DeliveryTag, outcome: Outcome) {
        observe::settled(self.lease.transport, tag, outcome);
        self.in_flight.end();
    }
}
