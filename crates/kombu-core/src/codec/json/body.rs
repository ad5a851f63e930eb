//! The codec for bodies.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::json::write::{Top, Writer};
use crate::codec::json::{parse, untag, write};
use crate::codec::{Codec, Encoded, Raw};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;
use crate::value::tagged::TYPE;

/// The codec `json`: `application/json` in UTF-8, with Kombu's tagged objects.
///
/// Written is valid JSON, without spaces, letters outside ASCII as they are; only NaN and the
/// infinities are the bare words `NaN`, `Infinity` and `-Infinity`, as Python has them. Bytes,
/// decimals, timestamps and [`Value::Tagged`] become tagged objects.
///
/// Reading is as lenient as Python's:
///
/// - the bare words above are floating point numbers, and `1e999` is infinite;
/// - integers that need more than 64 bits become [`Value::Decimal`], which keeps every digit (a
///   field of type `u128`, `f64` or `String` takes it);
/// - half of a surrogate pair (`"\ud800"`) becomes U+FFFD, since no Rust text can hold it;
/// - of equal keys the last one counts.
///
/// An object of exactly `__type__` and `__value__` is tagged, and an unknown tag an error; with
/// further keys it is an object like others. Nesting is limited to [`MAX_DEPTH`].
///
/// # Kombu
///
/// Kombu returns an empty body as it is; here it is null. Python limits nesting only by its
/// stack. Tags of the user's own (`register_type`) are read by [`JsonRules`].
///
/// [`JsonRules`]: crate::codec::json::JsonRules
/// [`MAX_DEPTH`]: crate::codec::json::MAX_DEPTH
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Json;

impl Codec for Json {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        CONTENT_TYPE
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        encode(value)
    }

    /// As in Kombu the encoding is not looked at: it is UTF-8.
    fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        untag(parse(body)?)
    }
}

/// The name.
impl AsRef<str> for Json {
    fn as_ref(&self) -> &str {
        "json"
    }
}

/// Writes anything as JSON, without a [`Value`] in between.
pub(in crate::codec) fn encode<T: Serialize + ?Sized>(data: &T) -> Result<Encoded> {
    write(data).map(encoded)
}

/// As [`encode`], except that a text or bytes at the top stay bare, as Kombu sends them when no
/// serializer is named.
pub(in crate::codec) fn encode_bare<T: Serialize + ?Sized>(data: &T) -> Result<Encoded> {
    let mut writer = Writer::bare();
    data.serialize(&mut writer)?;
    let (body, top) = writer.finish();
    match top {
        Top::Json => Ok(encoded(body)),
        Top::Text => Ok(Encoded::new(body, "text/plain", "utf-8")),
        Top::Bytes => Ok(Encoded::new(body, Raw::TYPE, "binary")),
        // Only `Value` is seen with its tag at the top; it may be `Value::Bytes`.
        Top::Tagged => match untag(parse(&body)?)? {
            bytes @ Value::Bytes(_) => Raw.encode_value(&bytes),
            _ => Ok(encoded(body)),
        },
    }
}

/// Reads anything from JSON, without a [`Value`] in between where the result is the same.
pub(in crate::codec) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let strict = match needs_value(body) {
        true => None,
        false => match serde_json::from_slice(body) {
            Ok(data) => return Ok(data),
            Err(error) => Some(error),
        },
    };
    // Either Python wrote more than strict JSON, or the body is broken, or it is not a `T`.
    let value = Json.decode_value(body, "utf-8")?;
    value.into_deserialize().map_err(|error| match strict {
        // It knows line and column.
        Some(strict) if strict.is_data() => Error::new(ErrorKind::Decode, strict.to_string()),
        _ => error,
    })
}

/// Whether a strict parser would read something else than the lenient one, without an error: tags
/// and integers that may have more than 64 bits.
fn needs_value(body: &[u8]) -> bool {
    if body.is_empty() || TAG.find(body).is_some() {
        return true;
    }
    // A run of 19 digits has one at a multiple of 19. 20 of them may exceed `u64`, 19 with a sign
    // `i64`.
    const RUN: usize = 19;
    let digit = |at: &usize| body.get(*at).is_some_and(u8::is_ascii_digit);
    let mut at = RUN - 1;
    while at < body.len() {
        if digit(&at) {
            let start = (0..at).rev().take_while(digit).last().unwrap_or(at);
            let end = at + (at..body.len()).take_while(digit).count();
            let signed = start > 0 && body.get(start - 1) == Some(&b'-');
            if end - start > RUN || (end - start == RUN && signed) {
                return true;
            }
            at = at.max(end);
        }
        at += RUN;
    }
    false
}

fn encoded(body: Vec<u8>) -> Encoded {
    Encoded::new(body, CONTENT_TYPE, "utf-8")
}

static TAG: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(TYPE));

const CONTENT_TYPE: &str = "application/json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_found_at_every_offset() {
        for offset in 0..60 {
            let pad = " ".repeat(offset);
            for (number, found) in [
                ("12345678901234567890", true),
                ("-1234567890123456789", true),
                ("1234567890123456789", false),
                ("-123456789012345678", false),
                (&"7".repeat(400), true),
            ] {
                let body = format!("{pad}{number}{pad}");
                assert_eq!(needs_value(body.as_bytes()), found, "{body}");
            }
        }
    }
}
