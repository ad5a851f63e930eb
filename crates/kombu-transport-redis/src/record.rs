//! The record of an unacked message: `[envelope, "exchange", "routing key"]`.
//!
//! Messages that this transport takes are recorded under the default exchange and the queue that
//! they came from, so that whoever restores the record, Kombu included, puts it into that queue.

use bytes::Bytes;
use kombu_core::Value;
use kombu_core::codec::json;

/// What follows the envelope in the record of a message of a queue.
pub(crate) fn tail(queue: &str) -> Bytes {
    let name = json::write(&Value::from(queue)).unwrap_or_default();
    Bytes::from([b", \"\", ".as_slice(), &name, b"]"].concat())
}

/// A record, read.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) envelope: Bytes,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
}

/// Reads a record; none for what is not one. The envelope is cut out, never written anew.
pub(crate) fn read(record: &Bytes) -> Option<Record> {
    let start = record.iter().position(|byte| *byte == b'[')? + 1;
    let start = start + record.get(start..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let end = start + length_of_value(record.get(start..)?)?;
    let envelope = record.slice(start..end);
    let rest = [b"[null", record.get(end..)?].concat();
    let Ok(Value::List(parts)) = json::parse(&rest) else { return None };
    let text = |at: usize| parts.get(at).and_then(Value::as_str).map(str::to_owned);
    // What was no object is kept as the text of a string.
    let envelope = if envelope.starts_with(b"\"") {
        let Ok(Value::Text(text)) = json::parse(&envelope) else { return None };
        Bytes::from(text)
    } else {
        envelope
    };
    Some(Record { envelope, exchange: text(1)?, routing_key: text(2)? })
}

/// Marks an envelope as delivered before, where Kombu does: in its headers and its delivery info.
pub(crate) fn mark_redelivered(envelope: &Bytes) -> Bytes {
    let mut text = envelope.to_vec();
    for key in [b"\"headers\":".as_slice(), b"\"delivery_info\":"] {
        let Some(at) = find(&text, key) else { continue };
        let Some(open) =
            text.iter().skip(at + key.len()).position(|byte| !byte.is_ascii_whitespace())
        else {
            continue;
        };
        let open = at + key.len() + open;
        if text.get(open) != Some(&b'{') {
            continue;
        }
        let Some(length) = text.get(open..).and_then(length_of_value) else { continue };
        let inside = text.get(open + 1..open + length - 1).unwrap_or_default();
        if find(inside, b"\"redelivered\":").is_some() {
            continue;
        }
        let comma = !inside.iter().all(u8::is_ascii_whitespace);
        let mark =
            if comma { b"\"redelivered\": true, ".as_slice() } else { b"\"redelivered\": true" };
        text.splice(open + 1..open + 1, mark.iter().copied());
    }
    Bytes::from(text)
}

/// The length of the JSON value at the start.
fn length_of_value(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => continue,
            }
        }
        if depth == 0 && !in_string {
            return Some(at + 1);
        }
    }
    None
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_byte_for_byte() {
        let envelope =
            r#"{"body": "eyJ9XSI=", "headers": {"a": "]\"}"}, "n": 12345678901234567890, "e": []}"#;
        for queue in ["q", "ä \"q\"", "a,b]"] {
            let record = Bytes::from([b"[".as_slice(), envelope.as_bytes(), &tail(queue)].concat());
            let read = read(&record).unwrap();
            assert_eq!(read.envelope, envelope);
            assert_eq!((read.exchange.as_str(), read.routing_key.as_str()), ("", queue));
        }
    }

    #[test]
    fn records_of_kombu_are_read() {
        let record = Bytes::from_static(br#"[{"body": "x", "headers": {}}, "d\u00e9x", "dk"]"#);
        let read = read(&record).unwrap();
        assert_eq!(read.envelope, r#"{"body": "x", "headers": {}}"#);
        assert_eq!((read.exchange.as_str(), read.routing_key.as_str()), ("déx", "dk"));
    }

    #[test]
    fn what_was_no_object_is_a_string_in_its_record() {
        let read = read(&Bytes::from_static(b"[\"not json \\\"]\", \"\", \"q\"]")).unwrap();
        assert_eq!(read.envelope, "not json \"]");
    }

    #[test]
    fn rubbish_is_no_record() {
        for text in ["", "[", "[{}", "{}", "[{}, \"a\"]", "[{}, 1, 2]"] {
            assert_eq!(read(&Bytes::from_static(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn marks_are_where_kombu_puts_them_and_only_once() {
        let envelope = Bytes::from_static(
            br#"{"body": "", "headers": {}, "properties": {"delivery_info": {"exchange": "e"}}}"#,
        );
        let marked = mark_redelivered(&envelope);
        assert_eq!(
            marked,
            r#"{"body": "", "headers": {"redelivered": true}, "properties": {"delivery_info": {"redelivered": true, "exchange": "e"}}}"#
        );
        assert_eq!(mark_redelivered(&marked), marked);
        assert_eq!(mark_redelivered(&Bytes::from_static(b"rubbish")), "rubbish");
    }
}
