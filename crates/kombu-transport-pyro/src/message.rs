//! Envelopes on their way: what the daemon does not take, the mark of a redelivery, the message.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kombu_core::{Error, ErrorKind, Message, Properties, Result};
use kombu_virtual::{Claimed, envelope};
use serde_json::Value;

/// Names a claimed message: its number on its link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt(pub(crate) u64);

/// Checks that no object of an envelope has the key `__class__`, of which a daemon makes an object
/// of Python's, or fails.
pub(crate) fn check(envelope: &str) -> Result<()> {
    if !envelope.contains(CLASS_IN_QUOTES) {
        return Ok(());
    }
    match serde_json::from_str(envelope) {
        Ok(value) if !names_a_class(&value) => Ok(()),
        // What this parser does not take cannot be looked through.
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a header or property has the key \"__class__\", which Pyro keeps for itself: give it \
             another name",
        )),
    }
}

fn names_a_class(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(names_a_class),
        Value::Object(fields) => fields.contains_key(CLASS) || fields.values().any(names_a_class),
        _ => false,
    }
}

/// Marks an envelope as delivered before, where Kombu does for this transport: at its end.
pub(crate) fn mark_redelivered(envelope: &Bytes) -> Bytes {
    let marked = envelope::decode(envelope).is_ok_and(|envelope| envelope.redelivered);
    match envelope.iter().rposition(|byte| *byte == b'}') {
        Some(end) if !marked => {
            let (before, after) = envelope.split_at(end);
            let comma: &[u8] = if before.contains(&b':') { b", " } else { b"" };
            let mut out = BytesMut::with_capacity(envelope.len() + 24);
            for part in [before, comma, b"\"redelivered\": true", after] {
                out.extend_from_slice(part);
            }
            out.freeze()
        }
        _ => envelope.clone(),
    }
}

/// Reads a message that was taken.
pub(crate) fn read(queue: &Arc<str>, receipt: Option<Receipt>, stored: Bytes) -> Claimed<Receipt> {
    match envelope::decode(&stored) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered;
            claimed
        }
        Err(error) => {
            let message = Message::new(stored, Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, message);
            claimed.broken = Some(error.to_string());
            claimed
        }
    }
}

const CLASS: &str = "__class__";
const CLASS_IN_QUOTES: &str = "\"__class__\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_put_once_at_the_end() {
        let plain = Bytes::from_static(br#"{"body": "", "properties": {}}"#);
        let marked = mark_redelivered(&plain);
        assert_eq!(marked, r#"{"body": "", "properties": {}, "redelivered": true}"#);
        assert_eq!(mark_redelivered(&marked), marked);
        assert_eq!(mark_redelivered(&Bytes::from_static(b"[1]")), "[1]");
    }

    #[test]
    fn only_keys_are_classes() {
        for fine in [
            r#"{"headers": {"a": "__class__"}}"#,
            r#"{"body": "{\"__class__\": 1}"}"#,
            r#"{"headers": {"class": [1, null, 2.5]}}"#,
        ] {
            check(fine).unwrap();
        }
        for wrong in [
            r#"{"headers": {"__class__": "x"}}"#,
            r#"{"headers": {"a": [{"b": {"__class__": "x"}}]}}"#,
            r#"{"properties": {"__class__": NaN}}"#,
        ] {
            assert_eq!(check(wrong).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
