//! The spans of a message's life.

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, field};

use super::meters;
use crate::error::Result;
use crate::transport::{DeliveryTag, Outcome, Publish, RawDelivery};

/// A publication, observed until this is dropped.
pub(crate) struct Publishing {
    span: Span,
    meter: meters::Publishing,
}

impl Publishing {
    /// Begins; the message gets its trace context.
    pub(crate) fn begin(transport: &'static str, publish: &mut Publish) -> Self {
        let properties = &publish.message.properties;
        let span = if wanted(Level::INFO) {
            tracing::info_span!(
                target: TARGET,
                "publish",
                otel.name = format!("publish {}", destination(&publish.exchange, &publish.routing_key)),
                otel.kind = "producer",
                otel.status_code = field::Empty,
                messaging.system = transport,
                "messaging.operation.type" = "send",
                messaging.operation.name = "publish",
                messaging.destination.name = destination(&publish.exchange, &publish.routing_key),
                messaging.rabbitmq.destination.routing_key = publish.routing_key.as_str(),
                messaging.message.id = properties.message_id.as_deref(),
                messaging.message.conversation_id = properties.correlation_id.as_deref(),
                messaging.message.body.size = publish.message.body.len(),
                "error.type" = field::Empty,
            )
        } else {
            Span::none()
        };
        #[cfg(feature = "opentelemetry")]
        super::context::inject(&span, &mut publish.message.properties.headers);
        Self { span, meter: meters::Publishing::begin(transport) }
    }

    /// Says what became of it.
    pub(crate) fn end(&self, result: &Result<()>) {
        if let Err(error) = result {
            failed(&self.span, &error.kind());
        }
        self.meter.end(result.is_ok());
    }
}

/// The work on a message, observed until this is dropped.
pub(crate) struct Processing {
    span: Span,
    meter: meters::Processing,
}

impl Processing {
    pub(crate) fn begin(transport: &'static str, delivery: &RawDelivery) -> Self {
        Self {
            span: process(transport, delivery),
            meter: meters::Processing::begin(transport, &delivery.queue),
        }
    }

    /// The span to do the work in.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Says that it failed.
    pub(crate) fn failed(&self, what: &'static str) {
        failed(&self.span, &what);
    }

    /// Says that it is over.
    pub(crate) fn end(self) {
        self.meter.end();
    }
}

/// The span of the work on a message, a child of the one that published it.
pub(crate) fn process(transport: &'static str, delivery: &RawDelivery) -> Span {
    let properties = &delivery.message.properties;
    let span = if wanted(Level::INFO) {
        tracing::info_span!(
            target: TARGET,
            "process",
            otel.name = format!("process {}", delivery.queue),
            otel.kind = "consumer",
            otel.status_code = field::Empty,
            messaging.system = transport,
            "messaging.operation.type" = "process",
            messaging.operation.name = "process",
            messaging.destination.name = &*delivery.queue,
            messaging.rabbitmq.destination.routing_key = delivery.routing_key.as_str(),
            messaging.message.id = properties.message_id.as_deref(),
            messaging.message.conversation_id = properties.correlation_id.as_deref(),
            messaging.message.body.size = delivery.message.body.len(),
            "error.type" = field::Empty,
        )
    } else {
        Span::none()
    };
    #[cfg(feature = "opentelemetry")]
    super::context::adopt(&span, &properties.headers);
    span
}

/// A message is handed out.
pub(crate) fn received(
    transport: &'static str,
    delivery: &RawDelivery,
    no_ack: bool,
) -> meters::InFlight {
    if wanted(Level::DEBUG) {
        drop(tracing::debug_span!(
            target: TARGET,
            "receive",
            otel.name = format!("receive {}", delivery.queue),
            otel.kind = "client",
            messaging.system = transport,
            "messaging.operation.type" = "receive",
            messaging.operation.name = "consume",
            messaging.destination.name = &*delivery.queue,
            messaging.rabbitmq.destination.routing_key = delivery.routing_key.as_str(),
            messaging.rabbitmq.message.delivery_tag = delivery.tag.0,
            messaging.message.id = delivery.message.properties.message_id.as_deref(),
            messaging.message.body.size = delivery.message.body.len(),
        ));
    }
    meters::InFlight::begin(transport, &delivery.queue, no_ack)
}

/// A settlement is handed to the transport.
pub(crate) fn settled(transport: &'static str, tag: DeliveryTag, outcome: Outcome) {
    let name = match outcome {
        Outcome::Ack => "ack",
        Outcome::Reject => "reject",
        Outcome::Requeue => "requeue",
    };
    if wanted(Level::DEBUG) {
        drop(tracing::debug_span!(
            target: TARGET,
            "settle",
            otel.name = name,
            otel.kind = "client",
            messaging.system = transport,
            "messaging.operation.type" = "settle",
            messaging.operation.name = name,
            messaging.rabbitmq.message.delivery_tag = tag.0,
        ));
    }
    meters::settled(transport, name);
}

/// Whether anybody may want spans of a level. Where some crate of the program turns the feature
/// `log` of `tracing` on, a span that nobody wants would be written out for a log all the same.
fn wanted(level: Level) -> bool {
    level <= LevelFilter::current()
}

fn failed(span: &Span, kind: &dyn std::fmt::Debug) {
    span.record("error.type", field::debug(kind));
    span.record("otel.status_code", "ERROR");
}

/// What the conventions call a destination: the exchange, or for the default one the queue.
fn destination<'a>(exchange: &'a str, routing_key: &'a str) -> &'a str {
    if exchange.is_empty() { routing_key } else { exchange }
}

const TARGET: &str = "kombu";
