//! Reads envelopes, as leniently as Kombu and a little more.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use kombu_core::codec::json;
use kombu_core::{DeliveryMode, Error, ErrorKind, Message, Properties, Result, Table, Value};

use super::{Envelope, MAX_PRIORITY};

/// Reads an envelope.
///
/// Headers or delivery info that are missing or null are empty; numbers may be texts; tagged
/// values in headers and properties become what they stand for, and stay objects where the tag is
/// unknown or the value does not fit it. JSON is read as leniently as Python does.
///
/// # Errors
///
/// `Decode` for what is no JSON object, has neither body nor properties, or has a body that is
/// not the base64 it claims to be.
pub fn decode(stored: &[u8]) -> Result<Envelope> {
    read(stored).map_err(|error| error.during("read envelope"))
}

fn read(stored: &[u8]) -> Result<Envelope> {
    let Value::Table(mut fields) = json::parse(stored)? else {
        return Err(Error::new(ErrorKind::Decode, "an envelope is a JSON object"));
    };
    let body = fields.remove("body");
    let given = match fields.remove("properties") {
        Some(Value::Table(given)) => given,
        None | Some(Value::Null) if body.is_some() => Table::new(),
        None | Some(_) => {
            return Err(Error::new(
                ErrorKind::Decode,
                "an envelope is an object with \"body\" and an object \"properties\"",
            ));
        }
    };
    let mut envelope = Envelope::default();
    let mut properties = Properties::new();
    properties.content_type = text(fields.remove("content-type")).map(known);
    properties.content_encoding = text(fields.remove("content-encoding")).map(known);
    if let Some(Value::Table(headers)) = fields.remove("headers") {
        properties.headers = untagged(headers);
    }
    envelope.redelivered =
        is_true(fields.get("redelivered")) || is_true(properties.headers.get("redelivered"));
    let mut body_encoding = None;
    for (name, value) in given {
        match name.as_str() {
            "body_encoding" => body_encoding = text(Some(value)),
            "delivery_tag" => envelope.delivery_tag = text(Some(value)),
            "delivery_info" => envelope.take_delivery_info(value),
            "delivery_mode" => properties.delivery_mode = mode(&value),
            "priority" => properties.priority = priority(&value),
            "correlation_id" => properties.correlation_id = text(Some(value)),
            "reply_to" => properties.reply_to = text(Some(value)),
            "message_id" => properties.message_id = text(Some(value)),
            "type" => properties.kind = text(Some(value)),
            "user_id" => properties.user_id = text(Some(value)),
            "app_id" => properties.app_id = text(Some(value)),
            "cluster_id" => properties.cluster_id = text(Some(value)),
            "expiration" => properties.expiration = text(Some(value)),
            "timestamp" => match value.as_i64().map(u64::try_from) {
                Some(Ok(seconds)) => properties.timestamp = Some(seconds),
                _ => keep(&mut properties.extra, name, value),
            },
            _ => keep(&mut properties.extra, name, value),
        }
    }
    envelope.message = Message::new(read_body(body, body_encoding.as_deref())?, properties);
    Ok(envelope)
}

impl Envelope {
    fn take_delivery_info(&mut self, info: Value) {
        if let Value::Table(mut info) = info {
            self.exchange = text(info.remove("exchange")).unwrap_or_default();
            self.routing_key = text(info.remove("routing_key")).unwrap_or_default();
            self.redelivered |= is_true(info.get("redelivered"));
        }
    }
}

fn read_body(body: Option<Value>, encoding: Option<&str>) -> Result<Bytes> {
    let body = match body {
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(Value::Text(body)) => body,
        Some(other) => return json::write(&other).map(Bytes::from),
    };
    if encoding != Some("base64") {
        return Ok(Bytes::from(body));
    }
    match BASE64.decode(&body) {
        Ok(bytes) => Ok(Bytes::from(bytes)),
        Err(_) => lenient_base64(&body),
    }
}

/// Python skips what is not of the alphabet.
fn lenient_base64(body: &str) -> Result<Bytes> {
    let kept: String = body
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/'))
        .collect();
    BASE64.decode(kept).map(Bytes::from).map_err(|error| {
        Error::new(ErrorKind::Decode, "the body is not the base64 that it claims to be")
            .caused_by(error)
    })
}

fn keep(extra: &mut Table, name: String, value: Value) {
    if value != Value::Null {
        extra.insert(name, untag(value));
    }
}

fn untagged(table: Table) -> Table {
    table.into_iter().map(|(name, value)| (name, untag(value))).collect()
}

/// The value with its tags resolved, or as it is if one cannot be.
fn untag(value: Value) -> Value {
    match value {
        Value::Table(_) | Value::List(_) => json::untag(value.clone()).unwrap_or(value),
        plain => plain,
    }
}

fn text(value: Option<Value>) -> Option<String> {
    match value? {
        Value::Text(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The usual names need no memory of their own.
fn known(name: String) -> Cow<'static, str> {
    const KNOWN: [&str; 6] = [
        "application/json",
        "utf-8",
        "binary",
        "text/plain",
        "application/data",
        "application/x-python-serialize",
    ];
    KNOWN.into_iter().find(|known| *known == name).map_or(Cow::Owned(name), Cow::Borrowed)
}

fn number(value: &Value) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "a saturating cast is meant")]
        Value::Float(number) => Some(*number as i64),
        Value::Text(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    }
}

fn priority(value: &Value) -> u8 {
    let number = number(value).unwrap_or(0).clamp(0, i64::from(MAX_PRIORITY));
    u8::try_from(number).unwrap_or(0)
}

fn mode(value: &Value) -> DeliveryMode {
    if number(value) == Some(1) || value.as_str() == Some("transient") {
        DeliveryMode::Transient
    } else {
        DeliveryMode::Persistent
    }
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool) == Some(true)
}

/// As Python reads it: trailing bits do not matter, nor does missing padding here.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
