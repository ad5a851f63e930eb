//! Calls of an object's methods, and what comes back, in JSON.

use bytes::Bytes;
use kombu_core::{Error, ErrorKind, Result, Scope};
use serde::Deserialize;

use crate::frame::{EXCEPTION, Frame, MARSHAL, RESULT};

/// The argument of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument<'a> {
    Text(&'a str),
    /// JSON, as it is.
    Json(&'a [u8]),
}

/// Writes the data of a call.
pub(crate) fn call(object: &str, method: &str, arguments: &[Argument<'_>]) -> Vec<u8> {
    let size = arguments.iter().map(|argument| match argument {
        Argument::Text(text) => text.len() + 2,
        Argument::Json(json) => json.len(),
    });
    let mut out = Vec::with_capacity(80 + object.len() + size.sum::<usize>());
    out.extend_from_slice(b"{\"object\": ");
    text(&mut out, object);
    out.extend_from_slice(b", \"method\": ");
    text(&mut out, method);
    out.extend_from_slice(b", \"params\": [");
    for (place, argument) in arguments.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b", ");
        }
        match argument {
            Argument::Text(argument) => text(&mut out, argument),
            Argument::Json(json) => out.extend_from_slice(json),
        }
    }
    out.extend_from_slice(b"], \"kwargs\": {}}");
    out
}

/// Writes a text as JSON.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    // A text is always JSON.
    let _infallible = serde_json::to_writer(out, text);
}

/// What a method returned or raised.
pub(crate) type Answer = Result<Bytes, Refusal>;

/// An exception of Python's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// The name of its class, with its module.
    class: String,
    /// Its first argument, if that is a text.
    message: String,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "__class__")]
    class: String,
    #[serde(default)]
    args: Vec<serde_json::Value>,
}

/// Reads the answer to a call.
pub(crate) fn answer(frame: Frame) -> Result<Answer> {
    if frame.kind != RESULT {
        let message = format!("the answer to a call is a frame of type {}", frame.kind);
        return Err(Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection));
    }
    if frame.flags & EXCEPTION == 0 {
        return Ok(Ok(frame.data));
    }
    let refusal = match serde_json::from_slice::<Exception>(&frame.data) {
        Ok(exception) => {
            let first = exception.args.first();
            let message = first.map(|first| match first.as_str() {
                Some(text) => shorten(text),
                None => shorten(&first.to_string()),
            });
            Refusal { class: shorten(&exception.class), message: message.unwrap_or_default() }
        }
        Err(_) => Refusal { class: "an exception".to_owned(), message: said(&frame) },
    };
    Ok(Err(refusal))
}

/// Reads a value that a method returned.
pub(crate) fn value<'a, T: Deserialize<'a>>(method: &'static str, data: &'a [u8]) -> Result<T> {
    serde_json::from_slice(data).map_err(|error| {
        Error::new(ErrorKind::Protocol, format!("the answer of {method} is not what it should be"))
            .caused_by(error)
    })
}

impl Refusal {
    /// Whether a queue was empty. Python 3.7 and later have its exception under another name.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.class.as_str(), "_queue.Empty" | "queue.Empty" | "Queue.Empty")
    }

    /// Whether there is no such queue.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.class.as_str(), "builtins.KeyError" | "exceptions.KeyError")
    }

    /// Whether a name server does not know a name.
    pub(crate) fn is_unknown_name(&self) -> bool {
        self.class == "Pyro4.errors.NamingError"
    }

    /// The error of a call that nobody expected to fail.
    pub(crate) fn into_error(self) -> Error {
        let Self { class, message } = self;
        Error::new(ErrorKind::Remote, format!("the broker object raised {class}: {message}"))
    }
}

/// What a frame says, whatever its serializer: marshal has a mark and a length before a text.
pub(crate) fn said(frame: &Frame) -> String {
    if let Ok(text) = serde_json::from_slice::<String>(&frame.data) {
        return shorten(&text);
    }
    let skipped = match (frame.serializer, frame.data.first()) {
        (MARSHAL, Some(b'z' | b'Z' | 0xda | 0xfa)) => 2,
        (MARSHAL, Some(_)) => 5,
        _ => 0,
    };
    shorten(&String::from_utf8_lossy(frame.data.get(skipped..).unwrap_or_default()))
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MOST).filter(|letter| !letter.is_control()).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}

/// The most letters of a foreign text in an error.
const MOST: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{CONNECT_FAIL, JSON};

    fn frame(flags: u16, data: &'static [u8]) -> Frame {
        let data = Bytes::from_static(data);
        Frame { kind: RESULT, flags, number: 1, serializer: JSON, data }
    }

    #[test]
    fn calls_are_json() {
        let arguments = [Argument::Text("q\"ä"), Argument::Json(b"{\"body\": NaN}")];
        let written = call("obj", "put", &arguments);
        assert_eq!(
            String::from_utf8(written).unwrap(),
            "{\"object\": \"obj\", \"method\": \"put\", \"params\": [\"q\\\"ä\", {\"body\": NaN}], \
             \"kwargs\": {}}"
        );
    }

    #[test]
    fn both_names_of_empty_are_known() {
        for (data, empty, missing) in [
            (&br#"{"__class__": "_queue.Empty", "args": []}"#[..], true, false),
            (br#"{"__class__": "queue.Empty", "args": [], "__exception__": true}"#, true, false),
            (br#"{"__class__": "builtins.KeyError", "args": ["q"]}"#, false, true),
            (br#"{"__class__": "builtins.TypeError", "args": [1]}"#, false, false),
            (b"no JSON", false, false),
        ] {
            let refusal = answer(frame(EXCEPTION, data)).unwrap().unwrap_err();
            assert_eq!((refusal.is_empty(), refusal.is_missing()), (empty, missing));
        }
    }

    #[test]
    fn exceptions_are_told_in_short() {
        let long = br#"{"__class__": "builtins.ValueError", "args": ["a\nb"], "attributes": {}}"#;
        let refusal = answer(frame(EXCEPTION, long)).unwrap().unwrap_err();
        let told = refusal.into_error().to_string();
        assert!(told.contains("raised builtins.ValueError: ab"), "{told}");
        assert!(shorten(&"x".repeat(5000)).len() < 400);
        assert_eq!(answer(frame(0, b"null")).unwrap().unwrap(), "null");
    }

    #[test]
    fn refusals_of_a_greeting_are_texts_in_json_or_marshal() {
        for (serializer, data) in [
            (JSON, &b"\"unknown object\""[..]),
            (MARSHAL, b"\xfa\x0eunknown object"),
            (MARSHAL, b"u\x0e\0\0\0unknown object"),
            (9, b"unknown object"),
        ] {
            let data = Bytes::copy_from_slice(data);
            let frame = Frame { kind: CONNECT_FAIL, flags: 0, number: 0, serializer, data };
            assert_eq!(said(&frame), "unknown object");
        }
    }
}
