//! What is told of messages on their way: spans, metrics and trace contexts.
//!
//! # Spans
//!
//! Spans of [`tracing`] with the target `kombu`, and the names and attributes of OpenTelemetry's
//! semantic conventions for messaging. Nothing is made of a span that nobody wants.
//!
//! | span | level | lasts |
//! |---|---|---|
//! | `publish` | info | until the broker has confirmed the message |
//! | `receive` | debug | no time: the message is handed out |
//! | `process` | info | while a handler of [`Worker`](crate::Worker) or [`Consumer::run`](crate::Consumer::run) works; [`Delivery::span`](crate::Delivery::span) makes it for others |
//! | `settle` | debug | no time: the settlement is handed to the transport |
//!
//! # Trace contexts
//!
//! With the feature `opentelemetry`, a message carries the context of its `publish` span in the
//! headers `traceparent` and `tracestate` of the W3C, and its `process` span is a child of that,
//! where the program has a layer of `tracing-opentelemetry`. A context that a message brings along
//! is passed on as it is where there is none.
//!
//! # Metrics
//!
//! With the feature `metrics`, the recorder of the crate `metrics` is told:
//!
//! | metric | labels | counts |
//! |---|---|---|
//! | `kombu_published_total` | `transport` | messages handed to a transport |
//! | `kombu_confirmed_total` | `transport` | of those, the ones that the broker has confirmed |
//! | `kombu_publish_failed_total` | `transport` | of those, the ones that failed for good |
//! | `kombu_publish_seconds` | `transport` | how long a publication took, its confirm included |
//! | `kombu_delivered_total` | `transport`, `queue` | messages handed out |
//! | `kombu_in_flight` | `transport` | messages handed out that are neither settled nor dropped |
//! | `kombu_settled_total` | `transport`, `outcome` | settlements; one for several messages is one |
//! | `kombu_process_seconds` | `transport`, `queue` | how long handlers took |
//! | `kombu_reconnects_total` | `transport` | links that were lost |
//!
//! Publications of [`Publication::submit`](crate::Publication::submit) count as published; what
//! becomes of them is known to who awaits the confirm.

#[cfg(feature = "opentelemetry")]
mod context;
mod spans;

#[cfg(feature = "metrics")]
mod meters;
#[cfg(not(feature = "metrics"))]
#[path = "meters_off.rs"]
mod meters;

pub(crate) use meters::{InFlight, reconnected};
pub(crate) use spans::{Processing, Publishing, process, received, settled};
