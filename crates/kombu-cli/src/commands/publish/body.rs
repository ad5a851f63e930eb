//! Bodies to publish: where they come from, and how they are written.

use std::io::{self, BufRead};
use std::str;
use std::thread;

use bytes::Bytes;
use kombu::codec::Codec as _;
use kombu::{Codecs, ErrorKind, Json, Producer, Publication, Value};
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};

use crate::end::Stop;
use crate::session::Session;
use crate::window::LIMIT;

/// What bodies are written with.
pub(super) enum Serializer {
    Json,
    Text,
    Raw,
    /// Another codec, by its name or content type.
    Other(String),
}

/// A body that was looked at.
pub(super) enum Body {
    /// Sent as it is.
    Bytes(Bytes),
    /// To be written by a codec.
    Value(Value),
}

impl Serializer {
    pub(super) fn new(name: &str) -> Result<Self, Stop> {
        match name {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            "raw" => Ok(Self::Raw),
            other => match Codecs::default().encode(Some(other), &()) {
                Err(error) if error.kind() == ErrorKind::InvalidArgument => Err(error.into()),
                _ => Ok(Self::Other(other.to_owned())),
            },
        }
    }

    /// Checks a body that came from `source`.
    pub(super) fn check(&self, bytes: Vec<u8>, source: &str) -> Result<Body, Stop> {
        if matches!(self, Self::Raw) {
            return Ok(Body::Bytes(bytes.into()));
        }
        let text = str::from_utf8(&bytes).map_err(|error| {
            let at = error.valid_up_to();
            Stop::said(format!(
                "{source} is not UTF-8 at byte {at}; --serializer raw takes any bytes"
            ))
        })?;
        if matches!(self, Self::Text) {
            return Ok(Body::Bytes(bytes.into()));
        }
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
            Stop::said(format!("{source} is not JSON: {error}; --serializer text takes any text"))
        })?;
        if matches!(self, Self::Json) {
            return Ok(Body::Bytes(Bytes::copy_from_slice(bytes.trim_ascii())));
        }
        Ok(Body::Value(Json.decode_value(&bytes, "utf-8")?))
    }

    /// Checks a line of standard input; `None` for one that holds no message: a blank line where
    /// lines are JSON.
    pub(super) fn line(
        &self,
        line: io::Result<Vec<u8>>,
        number: u64,
    ) -> Result<Option<Body>, Stop> {
        let mut line = line.map_err(|error| Stop::failed("cannot read standard input", error))?;
        match self {
            Self::Raw => {}
            Self::Text => {
                if line.ends_with(b"\r") {
                    line.pop();
                }
            }
            Self::Json | Self::Other(_) => {
                if line.trim_ascii().is_empty() {
                    return Ok(None);
                }
            }
        }
        self.check(line, &format!("line {number} of standard input")).map(Some)
    }

    /// Starts the publication of a body.
    pub(super) fn publication(&self, producer: &Producer, body: &Body) -> Publication {
        let bytes = match body {
            Body::Bytes(bytes) => bytes.clone(),
            Body::Value(value) => {
                return match self {
                    Self::Other(name) => producer.clone().serializer(name).publish(value),
                    Self::Json | Self::Raw | Self::Text => producer.publish(value),
                };
            }
        };
        match self {
            Self::Text => producer.publish_raw(bytes, "text/plain", "utf-8"),
            Self::Raw => producer.publish_raw(bytes, "application/data", "binary"),
            Self::Json | Self::Other(_) => producer.publish_raw(bytes, "application/json", "utf-8"),
        }
    }
}

/// Reads all of standard input.
pub(super) async fn read_whole(session: &mut Session) -> Result<Vec<u8>, Stop> {
    let Some(mut input) = session.input.take() else { return Ok(Vec::new()) };
    let (sender, read) = oneshot::channel();
    // A thread of its own: nothing ends a read that waits for a terminal or a pipe.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let result = input.read_to_end(&mut bytes).map(|_| bytes);
        let _nobody_waits = sender.send(result);
    });
    let read = async {
        let ended = || io::Error::other("the reader ended");
        read.await
            .map_err(|_| ended())
            .flatten()
            .map_err(|error| Stop::failed("cannot read standard input", error))
    };
    session.interrupt.unless(read).await
}

/// Reads standard input line by line, as fast as the lines are taken; without line ends.
pub(super) fn read_lines(session: &mut Session) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(LIMIT);
    if let Some(input) = session.input.take() {
        thread::spawn(move || {
            for line in input.split(b'\n') {
                let failed = line.is_err();
                if sender.blocking_send(line).is_err() || failed {
                    return;
                }
            }
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(serializer: &str, body: &[u8]) -> String {
        let serializer = Serializer::new(serializer).expect("it is known");
        match serializer.check(body.to_vec(), "BODY") {
            Err(Stop::Failed(line)) => line,
            _ => panic!("{body:?} is taken"),
        }
    }

    #[test]
    fn wrong_bodies_say_where() {
        let line = refused("json", b"{\"a\":\n  x}");
        assert!(line.starts_with("BODY is not JSON: expected value at line 2 column 3"), "{line}");
        assert!(refused("json", b"").contains("EOF while parsing a value at line 1 column 0"));
        assert!(refused("json", b"{} {}").contains("trailing characters at line 1 column 4"));
        assert!(refused("json", b"\"\xff\"").contains("is not UTF-8 at byte 1"));
        assert!(refused("text", b"ab\xff").contains("is not UTF-8 at byte 2"));
    }

    #[test]
    fn json_is_sent_as_written_but_for_the_spaces_around() {
        let body = Serializer::Json.check(b" {\"b\": 1,  \"a\": 1.0}\n".to_vec(), "BODY");
        let Ok(Body::Bytes(bytes)) = body else { panic!("it is JSON") };
        assert_eq!(&bytes[..], b"{\"b\": 1,  \"a\": 1.0}");
    }

    #[test]
    fn unknown_serializers_are_refused_with_the_known_ones() {
        let Err(Stop::Failed(line)) = Serializer::new("jsno") else { panic!("it is unknown") };
        assert!(line.contains("\"json\"?") && line.contains("there are: json, "), "{line}");
    }

    #[test]
    fn line_ends_and_blank_lines_are_no_part_of_messages() {
        let text = |line: &[u8]| match Serializer::Text.line(Ok(line.to_vec()), 1) {
            Ok(Some(Body::Bytes(bytes))) => bytes,
            _ => panic!("{line:?} is a text"),
        };
        assert_eq!(&text(b"a\r")[..], b"a");
        assert!(text(b"").is_empty());
        assert!(matches!(Serializer::Json.line(Ok(b" \r".to_vec()), 1), Ok(None)));
        let Err(Stop::Failed(line)) = Serializer::Json.line(Ok(b"{".to_vec()), 17) else {
            panic!("it is no JSON");
        };
        assert!(line.starts_with("line 17 of standard input is not JSON"), "{line}");
    }
}
