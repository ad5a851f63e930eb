//! Reads envelopes, as leniently as Kombu and a little more.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use kombu_core::codec::json;
use kombu_core::{DeliveryMode, Error, ErrorKind, Message, Properties, Result, Table, Value};

use super::scan::{Raw, Scanner};
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
    let text = std::str::from_utf8(stored).map_err(|error| {
        Error::new(ErrorKind::Decode, "an envelope is JSON in UTF-8")
            .with("byte", error.valid_up_to())
    })?;
    let mut envelope = Envelope::default();
    let mut properties = Properties::new();
    let (mut body, mut body_encoding) = (None, None);
    // Whether there are properties, where the object is not merely without them.
    let mut has_properties = None;
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, name| {
        match name {
            "body" => body = Some(scanner.value()?),
            "content-type" => {
                properties.content_type = self::text(scanner.value()?)?.map(known);
            }
            "content-encoding" => {
                properties.content_encoding = self::text(scanner.value()?)?.map(known);
            }
            "headers" => properties.headers = headers(scanner.value()?)?,
            "properties" => {
                let other = scanner.object_or_else(|scanner, name| match name {
                    "delivery_info" => envelope.take_delivery_info(scanner),
                    "delivery_tag" => {
                        envelope.delivery_tag = string(scanner.value()?)?;
                        Ok(())
                    }
                    "body_encoding" => {
                        body_encoding = self::text(scanner.value()?)?;
                        Ok(())
                    }
                    _ => take_property(&mut properties, name, scanner.value()?),
                })?;
                has_properties = match other {
                    None => Some(true),
                    Some(raw) if raw.is_null() => None,
                    Some(_) => Some(false),
                };
            }
            "redelivered" => envelope.redelivered |= is_true(scanner.value()?),
            _ => drop(scanner.value()?),
        }
        Ok(())
    })?;
    scanner.end()?;
    if !has_properties.unwrap_or(body.is_some()) {
        return Err(Error::new(
            ErrorKind::Decode,
            "an envelope is an object with \"body\" and an object \"properties\"",
        ));
    }
    envelope.redelivered |=
        properties.headers.get("redelivered").and_then(Value::as_bool) == Some(true);
    envelope.message = Message::new(read_body(body, body_encoding.as_deref())?, properties);
    Ok(envelope)
}

impl Envelope {
    fn take_delivery_info(&mut self, scanner: &mut Scanner<'_>) -> Result<()> {
        scanner.object_or_else(|scanner, name| {
            let raw = scanner.value()?;
            match name {
                "exchange" => self.exchange = string(raw)?.unwrap_or_default(),
                "routing_key" => self.routing_key = string(raw)?.unwrap_or_default(),
                "redelivered" => self.redelivered |= is_true(raw),
                _ => {}
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn take_property(properties: &mut Properties, name: &str, raw: Raw<'_>) -> Result<()> {
    match name {
        "delivery_mode" => properties.delivery_mode = mode(&raw.parse()?),
        "priority" => properties.priority = priority(raw)?,
        "correlation_id" => properties.correlation_id = string(raw)?,
        "reply_to" => properties.reply_to = string(raw)?,
        "message_id" => properties.message_id = string(raw)?,
        "type" => properties.kind = string(raw)?,
        "user_id" => properties.user_id = string(raw)?,
        "app_id" => properties.app_id = string(raw)?,
        "cluster_id" => properties.cluster_id = string(raw)?,
        "expiration" => properties.expiration = string(raw)?,
        _ => match raw.parse()? {
            Value::Null => {}
            value => match value.as_i64().map(u64::try_from) {
                Some(Ok(seconds)) if name == "timestamp" => properties.timestamp = Some(seconds),
                _ => {
                    properties.extra.insert(name, untag(value));
                }
            },
        },
    }
    Ok(())
}

fn headers(raw: Raw<'_>) -> Result<Table> {
    if raw == Raw::Json("{}") {
        return Ok(Table::new());
    }
    Ok(match raw.parse()? {
        Value::Table(headers) => {
            headers.into_iter().map(|(name, value)| (name, untag(value))).collect()
        }
        _ => Table::new(),
    })
}

fn read_body(body: Option<Raw<'_>>, encoding: Option<&str>) -> Result<Bytes> {
    let body = match body {
        None => return Ok(Bytes::new()),
        Some(Raw::Plain(body)) => Cow::Borrowed(body),
        Some(raw) => match raw.parse()? {
            Value::Null => return Ok(Bytes::new()),
            Value::Text(body) => Cow::Owned(body),
            // Kombu without a body encoding writes the bytes of a text tagged.
            other => match untag(other) {
                Value::Bytes(body) => return Ok(body),
                other => return json::write(&other).map(Bytes::from),
            },
        },
    };
    if encoding != Some("base64") {
        return Ok(Bytes::from(body.into_owned()));
    }
    match BASE64.decode(&*body) {
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

/// The value with its tags resolved, or as it is if one cannot be.
fn untag(value: Value) -> Value {
    match value {
        Value::Table(_) | Value::List(_) => json::untag(value.clone()).unwrap_or(value),
        plain => plain,
    }
}

/// A text, or the text of a number.
fn text(raw: Raw<'_>) -> Result<Option<Cow<'_, str>>> {
    let value = match raw {
        Raw::Plain(text) => return Ok(Some(Cow::Borrowed(text))),
        raw => raw.parse()?,
    };
    Ok(match value {
        Value::Text(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
    .map(Cow::Owned))
}

fn string(raw: Raw<'_>) -> Result<Option<String>> {
    text(raw).map(|text| text.map(Cow::into_owned))
}

/// The usual names need no memory of their own.
fn known(name: Cow<'_, str>) -> Cow<'static, str> {
    KNOWN
        .into_iter()
        .find(|known| *known == name)
        .map_or_else(|| Cow::Owned(name.into_owned()), Cow::Borrowed)
}

fn number(value: &Value) -> Option<i64> {
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "a saturating cast is meant")]
        Value::Float(number) => Some(*number as i64),
        Value::Text(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    }
}

fn priority(raw: Raw<'_>) -> Result<u8> {
    let number = number(&raw.parse()?).unwrap_or(0).clamp(0, i64::from(MAX_PRIORITY));
    Ok(u8::try_from(number).unwrap_or(0))
}

fn mode(value: &Value) -> DeliveryMode {
    if number(value) == Some(1) || value.as_str() == Some("transient") {
        DeliveryMode::Transient
    } else {
        DeliveryMode::Persistent
    }
}

fn is_true(raw: Raw<'_>) -> bool {
    raw == Raw::Json("true")
}

/// Content types and encodings of most messages.
const KNOWN: [&str; 6] = [
    "application/json",
    "utf-8",
    "binary",
    "text/plain",
    "application/data",
    "application/x-python-serialize",
];

/// As Python reads it: trailing bits do not matter, nor does missing padding here.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
