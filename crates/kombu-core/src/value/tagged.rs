//! Kombu's tagged values: what JSON has no form for travels as an object of exactly two keys,
//! `{"__type__": "datetime", "__value__": "2020-01-02T03:04:05"}` (`kombu/utils/json.py`).
//!
//! This file is the one place that knows the tags: their names, how a value is written with one
//! and how a tagged object is read. Tags of the user's own (Kombu's `register_type`) are those of
//! `JsonRules`, which comes before [`untag`].

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Serialize;
use serde::ser::{Error as _, SerializeStruct as _, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::value::date::{is_date, is_datetime, is_time};
use crate::value::{Tag, Value};

impl Tag {
    /// The name on the wire: the text of `__type__`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Time => "time",
            Self::Uuid => "uuid",
        }
    }

    /// The tag of a name on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Date, Self::Datetime, Self::Time, Self::Uuid]
            .into_iter()
            .find(|tag| tag.name() == name)
    }
}

/// Writes a tagged text.
///
/// The serde name `marker` is invisible in JSON; [`Value::from_serialize`] knows it and makes the
/// same value again.
pub(super) fn serialize_tagged<S: Serializer>(
    serializer: S,
    marker: &'static str,
    tag: &str,
    content: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct(marker, 2)?;
    object.serialize_field(TYPE, tag)?;
    object.serialize_field(VALUE, content)?;
    object.end()
}

/// Writes bytes as Kombu does: UTF-8 as text tagged `bytes`, others in base64 tagged `base64`.
pub(crate) fn serialize_bytes<S: Serializer>(
    serializer: S,
    bytes: &[u8],
) -> Result<S::Ok, S::Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serialize_tagged(serializer, TAGGED, "bytes", text),
        Err(_) => serialize_tagged(serializer, TAGGED, "base64", &BASE64.encode(bytes)),
    }
}

/// Writes a UUID, whose value is an object.
pub(super) fn serialize_uuid<S: Serializer>(serializer: S, hex: &str) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Hex<'a> {
        hex: &'a str,
    }
    match plain_hex(hex) {
        Some(hex) => serialize_tagged(serializer, TAGGED, Tag::Uuid.name(), &Hex { hex: &hex }),
        None => Err(S::Error::custom(format!("{hex:?} is not a UUID"))),
    }
}

/// The value of a tagged object.
///
/// The texts stay as they are, once they are plausible; a UUID becomes 32 digits.
pub(crate) fn untag(name: &str, content: Value) -> Result<Value> {
    let value = match (name, content) {
        ("bytes", Value::Text(text)) => Value::Bytes(Bytes::from(text)),
        ("base64", Value::Text(mut text)) => {
            text.retain(|c| !c.is_ascii_whitespace());
            let bytes = BASE64.decode(text).map_err(|error| {
                Error::new(ErrorKind::Decode, "a base64 value is broken").caused_by(error)
            })?;
            Value::Bytes(Bytes::from(bytes))
        }
        ("decimal", Value::Text(text)) if is_decimal(&text) => Value::Decimal(text),
        ("decimal", Value::Int(number)) => Value::Decimal(number.to_string()),
        ("decimal", Value::UInt(number)) => Value::Decimal(number.to_string()),
        // Kombu takes the date of a whole datetime here.
        ("date", Value::Text(mut text)) if is_date(&text) || is_datetime(&text) => {
            text.truncate("2020-01-02".len());
            Value::Tagged(Tag::Date, text)
        }
        ("datetime", Value::Text(text)) if is_date(&text) || is_datetime(&text) => {
            Value::Tagged(Tag::Datetime, text)
        }
        ("time", Value::Text(text)) if is_time(&text) => Value::Tagged(Tag::Time, text),
        ("uuid", Value::Table(fields)) => match fields.get("hex").and_then(Value::as_str) {
            Some(hex) => match plain_hex(hex) {
                Some(hex) => Value::Tagged(Tag::Uuid, hex),
                None => return Err(malformed(name)),
            },
            None => return Err(malformed(name)),
        },
        (name, _) if NAMES.contains(&name) => return Err(malformed(name)),
        (name, _) => {
            return Err(Error::new(
                ErrorKind::Decode,
                format!(
                    "an object is tagged with the unknown __type__ {name:?}; known are {}",
                    NAMES.join(", ")
                ),
            ));
        }
    };
    Ok(value)
}

/// Replaces tagged objects in `value` by what they stand for, the innermost first.
pub(crate) fn untag_all(value: &mut Value) -> Result<()> {
    untag_all_by(value, &untag)
}

/// Replaces tagged objects in `value` by what `read` makes of tag and content, the innermost first.
pub(crate) fn untag_all_by(
    value: &mut Value,
    read: &dyn Fn(&str, Value) -> Result<Value>,
) -> Result<()> {
    match value {
        Value::List(items) => items.iter_mut().try_for_each(|item| untag_all_by(item, read)),
        Value::Table(table) => {
            table.0.values_mut().try_for_each(|inner| untag_all_by(inner, read))?;
            if let Some((name, content)) = table.take_tagged()? {
                *value = read(&name, content)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

impl super::Table {
    /// The tag and content, if these two are all there is; they are taken out.
    pub(super) fn take_tagged(&mut self) -> Result<Option<(String, Value)>> {
        if self.len() != 2 || !self.contains(TYPE) {
            return Ok(None);
        }
        let Some(content) = self.remove(VALUE) else {
            return Ok(None);
        };
        match self.remove(TYPE) {
            Some(Value::Text(name)) => Ok(Some((name, content))),
            _ => Err(Error::new(ErrorKind::Decode, "an object has a __type__ that is not a text")),
        }
    }
}

fn malformed(name: &str) -> Error {
    let right = match name {
        "base64" | "bytes" => "a text",
        "date" => "a text such as \"2020-01-02\"",
        "datetime" => "a text such as \"2020-01-02T03:04:05.000006+00:00\"",
        "decimal" => "a text such as \"1.20\"",
        "time" => "a text such as \"03:04:05\"",
        _ => "an object whose \"hex\" is 32 hexadecimal digits",
    };
    // The value itself stays out of the message: it is the user's data.
    Error::new(ErrorKind::Decode, format!("the __value__ of a {name:?} object must be {right}"))
}

/// The 32 lower case digits of a UUID; hyphens, braces and `urn:uuid:` may be there, as in Python.
pub(crate) fn plain_hex(text: &str) -> Option<String> {
    let text = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let hex = text
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .map(|c| c.to_ascii_lowercase())
        .collect::<String>();
    (hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then_some(hex)
}

/// Whether Python's `Decimal` prints such a text: `-1.20`, `1E+5`, `NaN`, `sNaN12`, `Infinity`.
pub(crate) fn is_decimal(text: &str) -> bool {
    let number = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    if number == "inf" || number == "infinity" {
        return true;
    }
    if let Some(payload) = number.strip_prefix("nan").or(number.strip_prefix("snan")) {
        return payload.bytes().all(|b| b.is_ascii_digit());
    }
    let (mantissa, exponent) = number.split_once('e').unwrap_or((&number, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && digits(exponent)
        && !exponent.is_empty()
}

/// The key of the tag.
pub(crate) const TYPE: &str = "__type__";

/// The key of the content.
pub(crate) const VALUE: &str = "__value__";

/// The serde struct name of a tagged value.
pub(crate) const TAGGED: &str = "$kombu::Tagged";

/// The serde struct name of a [`Value::Timestamp`], tagged `datetime`.
pub(crate) const TIMESTAMP: &str = "$kombu::Timestamp";

pub(crate) const NAMES: [&str; 7] =
    ["base64", "bytes", "date", "datetime", "decimal", "time", "uuid"];

pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_what_python_prints() {
        for good in ["1.20", "-0", "1E+5", "0E-7", "NaN", "-sNaN12", "Infinity", ".5", "5."] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in ["", "-", ".", "1e", "1.2.3", "one", "0x1", "1 ", "e5"] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }

    #[test]
    fn uuids_are_normalised() {
        let hex = "12345678123456781234567812345678";
        for text in ["{12345678-1234-5678-1234-567812345678}", hex] {
            assert_eq!(plain_hex(text).as_deref(), Some(hex));
        }
        assert_eq!(plain_hex("1234"), None);
        assert_eq!(plain_hex("ääääääääääääääääääääääääääääääää"), None);
    }
}
