//! How a [`Value`] is written by any serde serializer.

use serde::ser::{Error as _, Serialize, Serializer};

use crate::error::{Error, ErrorKind};
use crate::value::date::timestamp_text;
use crate::value::tagged::{TAGGED, TIMESTAMP, serialize_bytes, serialize_tagged, serialize_uuid};
use crate::value::{Table, Tag, Value};

/// Bytes, decimals, timestamps and tagged values become the objects of Kombu's JSON codec.
///
/// A [`Value::Timestamp`] becomes a `datetime` in UTC: in Python, a timestamp header is one.
/// Years that Python cannot hold (outside 1 to 9999) are an error.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::UInt(number) => serializer.serialize_u64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Decimal(text) => serialize_tagged(serializer, TAGGED, "decimal", text),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serialize_bytes(serializer, bytes),
            Self::Timestamp(seconds) => match timestamp_text(*seconds) {
                Some(text) => serialize_tagged(serializer, TIMESTAMP, Tag::Datetime.name(), &text),
                None => Err(S::Error::custom(format!(
                    "the timestamp {seconds} is not in the years 1 to 9999"
                ))),
            },
            Self::Tagged(Tag::Uuid, hex) => serialize_uuid(serializer, hex),
            Self::Tagged(tag, text) => serialize_tagged(serializer, TAGGED, tag.name(), text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Table(table) => table.serialize(serializer),
        }
    }
}

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

/// What a `Serialize` implementation reports is an [`ErrorKind::Encode`].
impl serde::ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Encode, message.to_string())
    }
}
