//! The W3C's trace context in the headers of messages.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::value::{Table, Value};

/// Gives a message the context of a span, or of the current one if there is no such span.
pub(super) fn inject(span: &Span, headers: &mut Table) {
    let context = if span.is_disabled() { Span::current().context() } else { span.context() };
    let current = context.span();
    let current = current.span_context();
    if !current.is_valid() {
        return;
    }
    let (trace, id, flags) = (current.trace_id(), current.span_id(), current.trace_flags());
    headers.insert(PARENT, format!("00-{trace}-{id}-{:02x}", flags.to_u8() & 1));
    match current.trace_state().header() {
        state if state.is_empty() => headers.remove(STATE),
        state => headers.insert(STATE, state),
    };
}

/// Makes a span the child of the one whose context a message has.
pub(super) fn adopt(span: &Span, headers: &Table) {
    if !span.is_disabled()
        && let Some(parent) = read(headers)
    {
        // A span that has begun already has its parent.
        let _begun = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The context of a message. A later version of the form begins like this one.
fn read(headers: &Table) -> Option<SpanContext> {
    let text = headers.get(PARENT).and_then(Value::as_str)?;
    let mut parts = text.split('-');
    let version = hexadecimal(parts.next()?, 2)?;
    let trace = TraceId::from_hex(hexadecimal(parts.next()?, 32)?).ok()?;
    let span = SpanId::from_hex(hexadecimal(parts.next()?, 16)?).ok()?;
    let flags = u8::from_str_radix(hexadecimal(parts.next()?, 2)?, 16).ok()?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let state = headers.get(STATE).and_then(Value::as_str).unwrap_or_default();
    let state = state.parse::<TraceState>().unwrap_or_default();
    let context = SpanContext::new(trace, span, TraceFlags::new(flags & 1), true, state);
    context.is_valid().then_some(context)
}

/// The text, if it is lower-case hexadecimal of that length.
fn hexadecimal(text: &str, length: usize) -> Option<&str> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == length && text.bytes().all(digit)).then_some(text)
}

const PARENT: &str = "traceparent";
const STATE: &str = "tracestate";

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn parent(text: &str) -> Option<SpanContext> {
        read(&Table::new().with(PARENT, text).with(STATE, "vendor=1"))
    }

    #[test]
    fn contexts_are_read_as_the_w3c_writes_them() {
        let context = parent(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(context.trace_id().to_string(), TRACE);
        assert_eq!(context.span_id().to_string(), "00f067aa0ba902b7");
        assert!(context.is_sampled() && context.is_remote());
        assert_eq!(context.trace_state().header(), "vendor=1");
        assert!(!parent(&format!("00-{TRACE}-00f067aa0ba902b7-00")).unwrap().is_sampled());
        assert!(parent(&format!("cc-{TRACE}-00f067aa0ba902b7-01-more")).is_some());
    }

    #[test]
    fn what_is_no_context_is_none() {
        let zero = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{zero}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-é{}-00f067aa0ba902b7-01", &TRACE[2..]),
        ] {
            assert!(parent(&text).is_none(), "{text}");
        }
        assert!(read(&Table::new().with(PARENT, 5)).is_none());
    }
}
