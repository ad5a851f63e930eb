//! How a [`Value`] is read from any serde deserializer.

use std::fmt;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess as _,
    Visitor,
};

use crate::error::{Error, ErrorKind};
use crate::value::tagged::untag;
use crate::value::{Table, Tag, Value};

/// Any shape is read. An object of exactly `__type__` and `__value__` becomes what Kombu's JSON
/// codec means by it; an unknown tag is an error. Integers of more than 64 bits become
/// [`Value::Decimal`], so that no digit is lost.
impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The name tells the deserializer over a `Value` to keep tags; others do not look at it.
        deserializer.deserialize_newtype_struct(NAME, ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

/// What a `Deserialize` implementation reports is an [`ErrorKind::Decode`].
impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Decode, message.to_string())
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::from_i128(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::from_u128(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.to_vec().into()))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Value, E> {
        Ok(Value::Bytes(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        // The hint may come from a hostile sender: it does not reserve memory without bound.
        let mut items = Vec::with_capacity(access.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        let mut table = TableVisitor.visit_map(access)?;
        match table.take_tagged().map_err(A::Error::custom)? {
            Some((name, content)) => untag(&name, content).map_err(A::Error::custom),
            None => Ok(Value::Table(table)),
        }
    }

    /// Takes the variants without a serde type, as the deserializer over a `Value` hands them on.
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        let (name, content) = access.variant::<String>()?;
        if name == TABLE {
            return content.newtype_variant().map(Value::Table);
        }
        match (name.as_str(), Tag::from_name(&name), content.newtype_variant()?) {
            ("decimal", _, Value::Text(text)) => Ok(Value::Decimal(text)),
            ("timestamp", _, Value::Int(seconds)) => Ok(Value::Timestamp(seconds)),
            (_, Some(tag), Value::Text(text)) => Ok(Value::Tagged(tag, text)),
            _ => Err(A::Error::custom(format!("{name:?} is no kind of value"))),
        }
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Table, A::Error> {
        let mut table = Table::new();
        while let Some((name, value)) = access.next_entry::<String, Value>()? {
            table.insert(name, value);
        }
        Ok(table)
    }
}

impl Value {
    /// A number that may have more than 64 bits.
    pub(crate) fn from_i128(number: i128) -> Self {
        match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => Self::Int(number),
            (_, Ok(number)) => Self::UInt(number),
            _ => Self::Decimal(number.to_string()),
        }
    }

    /// A number that may have more than 64 bits.
    pub(super) fn from_u128(number: u128) -> Self {
        i128::try_from(number).map_or_else(|_| Self::Decimal(number.to_string()), Self::from_i128)
    }
}

/// The serde name under which a [`Value`] asks for a value.
pub(super) const NAME: &str = "$kombu::Value";

/// The variant under which it gets a table.
pub(super) const TABLE: &str = "table";
