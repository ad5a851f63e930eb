//! The deserializer whose input is a [`Value`].

use std::iter;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::{Error, Result};
use crate::value::date::timestamp_text;
use crate::value::deserialize::{NAME, TABLE};
use crate::value::{Tag, Value};

impl Value {
    /// Makes a `T` of the value.
    ///
    /// Decimals and tagged values are texts to `T`, bytes are bytes, a list of numbers or (if
    /// they are UTF-8) a text, timestamps are whole seconds or an RFC 3339 text, whatever `T`
    /// asks for. Thus fields of type `String`, or of the date, decimal and UUID types of other
    /// crates, read what Python sent.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode) if the value does not have the shape of
    /// `T`.
    ///
    /// ```
    /// use kombu_core::{Table, Tag, Value};
    /// #[derive(serde::Deserialize)]
    /// struct Video { id: uuid::Uuid, seen: String }
    /// let value = Value::Table(Table::new()
    ///     .with("id", Value::Tagged(Tag::Uuid, "00000000000000000000000000000005".into()))
    ///     .with("seen", Value::Tagged(Tag::Date, "2020-01-02".into())));
    /// let video: Video = value.into_deserialize()?;
    /// assert_eq!((video.id.as_u128(), &*video.seen), (5, "2020-01-02"));
    /// # Ok::<(), kombu_core::Error>(())
    /// ```
    pub fn into_deserialize<T: for<'de> Deserialize<'de>>(self) -> Result<T> {
        T::deserialize(self)
    }

    fn visit_list<'de, V: Visitor<'de>, I>(items: I, visitor: V) -> Result<V::Value>
    where
        I: Iterator,
        I::Item: IntoDeserializer<'de, Error>,
    {
        let mut items = SeqDeserializer::new(items);
        let made = visitor.visit_seq(&mut items)?;
        items.end()?;
        Ok(made)
    }

    fn visit_variant<'de, V: Visitor<'de>>(
        name: &str,
        content: impl IntoDeserializer<'de, Error>,
        visitor: V,
    ) -> Result<V::Value> {
        let entry = MapDeserializer::new(iter::once((name, content)));
        visitor.visit_enum(MapAccessDeserializer::new(entry))
    }
}

impl IntoDeserializer<'_, Error> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! number {
    ($($method:ident $variant:ident $type:ty => $visit:ident),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self {
                Self::$variant(text) => match text.parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => visitor.visit_string(text),
                },
                other => other.deserialize_any(visitor),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(truth) => visitor.visit_bool(truth),
            Self::Int(number) | Self::Timestamp(number) => visitor.visit_i64(number),
            Self::UInt(number) => visitor.visit_u64(number),
            Self::Float(number) => visitor.visit_f64(number),
            Self::Decimal(text) | Self::Text(text) | Self::Tagged(_, text) => {
                visitor.visit_string(text)
            }
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Self::List(items) => Self::visit_list(items.into_iter(), visitor),
            Self::Table(table) => {
                let entries = table.into_iter().map(|(name, value)| (Key(name), value));
                let mut entries = MapDeserializer::new(entries);
                let made = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(made)
            }
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Bytes(bytes) => match String::from_utf8(bytes.into()) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => visitor.visit_byte_buf(error.into_bytes()),
            },
            Self::Timestamp(seconds) => match timestamp_text(seconds) {
                Some(text) => visitor.visit_string(text),
                None => visitor.visit_i64(seconds),
            },
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Bytes(bytes) => Self::visit_list(Vec::from(bytes).into_iter(), visitor),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_seq(visitor)
    }

    number! {
        deserialize_f32 Decimal f32 => visit_f32,
        deserialize_f64 Decimal f64 => visit_f64,
        deserialize_i128 Decimal i128 => visit_i128,
        deserialize_u128 Decimal u128 => visit_u128,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            // A `Value` is read: what serde has no type for keeps its kind.
            Self::Decimal(text) if name == NAME => Self::visit_variant("decimal", text, visitor),
            Self::Timestamp(seconds) if name == NAME => {
                Self::visit_variant("timestamp", seconds, visitor)
            }
            Self::Tagged(tag, text) if name == NAME => {
                Self::visit_variant(Tag::name(tag), text, visitor)
            }
            // A table of a `Value` is what it is, also if it looks like a tagged object.
            Self::Table(table) if name == NAME => {
                Self::visit_variant(TABLE, Self::Table(table), visitor)
            }
            other => visitor.visit_newtype_struct(other),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Self::Table(table) if table.len() == 1 => match table.into_iter().next() {
                Some((name, content)) => Self::visit_variant(&name, content, visitor),
                None => visitor.visit_unit(),
            },
            Self::Text(text) | Self::Tagged(_, text) | Self::Decimal(text) => {
                visitor.visit_enum(text.into_deserializer())
            }
            Self::Table(_) => Err(Error::invalid_type(
                Unexpected::Map,
                &"the name of a variant, or an object with it as its only key",
            )),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 char bytes byte_buf unit unit_struct map struct
        identifier
    }
}

/// The name of an entry, which a map with number or truth value keys reads as such.
struct Key(String);

impl IntoDeserializer<'_, Error> for Key {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed_key {
    ($($method:ident $type:ty => $visit:ident),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            match self.0.parse::<$type>() {
                Ok(parsed) => visitor.$visit(parsed),
                Err(_) => visitor.visit_string(self.0),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for Key {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_string(self.0)
    }

    parsed_key! {
        deserialize_bool bool => visit_bool,
        deserialize_i8 i8 => visit_i8,
        deserialize_i16 i16 => visit_i16,
        deserialize_i32 i32 => visit_i32,
        deserialize_i64 i64 => visit_i64,
        deserialize_i128 i128 => visit_i128,
        deserialize_u8 u8 => visit_u8,
        deserialize_u16 u16 => visit_u16,
        deserialize_u32 u32 => visit_u32,
        deserialize_u64 u64 => visit_u64,
        deserialize_u128 u128 => visit_u128,
        deserialize_f32 f32 => visit_f32,
        deserialize_f64 f64 => visit_f64,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
