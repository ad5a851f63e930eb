//! Values of both languages as JSON, in the notation of `interop/values.py`: what JSON lacks is an
//! object with the key `!`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kombu::{Table, Tag, Value};
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json, json};

use crate::failure::{Failure, Result};

/// Bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Json {
    tagged("bytes", &STANDARD.encode(bytes))
}

/// A date and time, as Python's `isoformat` writes it.
pub(crate) fn datetime(text: &str) -> Json {
    tagged("datetime", text)
}

/// A date.
pub(crate) fn date(text: &str) -> Json {
    tagged("date", text)
}

/// A time of day.
pub(crate) fn time(text: &str) -> Json {
    tagged("time", text)
}

/// A decimal.
pub(crate) fn decimal(text: &str) -> Json {
    tagged("decimal", text)
}

/// A UUID, with hyphens.
pub(crate) fn uuid(text: &str) -> Json {
    tagged("uuid", text)
}

/// A time in seconds since 1970, which only Rust has.
pub(crate) fn timestamp(seconds: i64) -> Json {
    tagged("timestamp", &seconds.to_string())
}

/// One of `nan`, `inf` and `-inf`.
pub(crate) fn float(text: &str) -> Json {
    tagged("float", text)
}

/// An integer of more than 64 bits.
pub(crate) fn int(text: &str) -> Json {
    tagged("int", text)
}

fn tagged(kind: &str, text: &str) -> Json {
    json!({ "!": kind, "v": text })
}

/// The notation of a value.
pub(crate) fn from_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        Value::UInt(number) => json!(number),
        Value::Float(number) if number.is_nan() => float("nan"),
        Value::Float(number) if number.is_infinite() => {
            float(if *number > 0.0 { "inf" } else { "-inf" })
        }
        Value::Float(number) => json!(number),
        Value::Decimal(text) => decimal(text),
        Value::Text(text) => json!(text),
        Value::Bytes(octets) => bytes(octets),
        Value::Timestamp(seconds) => timestamp(*seconds),
        Value::Tagged(Tag::Uuid, hex) => uuid(&hyphenated(hex)),
        Value::Tagged(tag, text) => tagged(tag.name(), text),
        Value::List(items) => items.iter().map(from_value).collect(),
        Value::Table(table) => {
            let convert = |(name, value): (&str, &Value)| (name.to_owned(), from_value(value));
            Json::Object(table.iter().map(convert).collect::<Map<_, _>>())
        }
        other => json!({ "!": "unknown", "v": format!("{other:?}") }),
    }
}

/// The value of a notation. It has no integers of more than 64 bits; see [`Body`].
pub(crate) fn to_value(json: &Json) -> Result<Value> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::Int(number),
            (_, Some(number), _) => Value::UInt(number),
            (_, _, Some(number)) => Value::Float(number),
            _ => return Err(Failure::own(format!("no value for {number}"))),
        },
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(to_value).collect::<Result<_>>()?),
        Json::Object(object) => match tag_of(object) {
            Some((kind, text)) => untag(kind, text)?,
            None => {
                let convert =
                    |(name, value): (&String, &Json)| Ok((name.clone(), to_value(value)?));
                Value::Table(object.iter().map(convert).collect::<Result<Table>>()?)
            }
        },
    })
}

fn untag(kind: &str, text: &str) -> Result<Value> {
    Ok(match kind {
        "bytes" => Value::Bytes(STANDARD.decode(text)?.into()),
        "date" => Value::Tagged(Tag::Date, text.to_owned()),
        "datetime" => Value::Tagged(Tag::Datetime, text.to_owned()),
        "decimal" => Value::Decimal(text.to_owned()),
        "float" => Value::Float(text.parse()?),
        "time" => Value::Tagged(Tag::Time, text.to_owned()),
        "timestamp" => Value::Timestamp(text.parse()?),
        "uuid" => Value::Tagged(Tag::Uuid, text.replace('-', "")),
        other => return Err(Failure::own(format!("no value for the tag {other:?}"))),
    })
}

fn tag_of(object: &Map<String, Json>) -> Option<(&str, &str)> {
    Some((object.get("!")?.as_str()?, object.get("v")?.as_str()?))
}

/// A notation that is serialized as the value it stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body<'a>(pub(crate) &'a Json);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Json::Array(items) => serializer.collect_seq(items.iter().map(Body)),
            Json::Object(object) => match tag_of(object) {
                Some(("int", text)) => {
                    serializer.serialize_i128(text.parse().map_err(S::Error::custom)?)
                }
                Some(_) => value(self.0, serializer),
                None => {
                    let mut map = serializer.serialize_map(Some(object.len()))?;
                    for (name, value) in object {
                        map.serialize_entry(name, &Body(value))?;
                    }
                    map.end()
                }
            },
            plain => value(plain, serializer),
        }
    }
}

fn value<S: Serializer>(json: &Json, serializer: S) -> Result<S::Ok, S::Error> {
    let value = to_value(json).map_err(|failure| S::Error::custom(failure.to_string()))?;
    value.serialize(serializer)
}

/// The usual form of a UUID's 32 digits.
fn hyphenated(hex: &str) -> String {
    let mut text = hex.to_owned();
    for at in [20, 16, 12, 8] {
        if text.is_char_boundary(at) {
            text.insert(at, '-');
        }
    }
    text
}
