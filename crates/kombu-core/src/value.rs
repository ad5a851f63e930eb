//! Dynamic values: AMQP field tables, message headers, entity arguments and decoded bodies.

pub(crate) mod date;
mod deserialize;
mod from_serialize;
mod into_deserialize;
mod key;
#[cfg(any(feature = "pickle", feature = "yaml"))]
pub(crate) mod moment;
mod serialize;
pub(crate) mod tagged;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// A value of any type that a header, an argument or a decoded body can have.
///
/// It is the union of AMQP 0-9-1's field types (section 4.2.5.5, with RabbitMQ's additions) and
/// of what Kombu's serializers produce.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// No value (`null`, AMQP `V`).
    #[default]
    Null,
    /// A truth value (AMQP `t`).
    Bool(bool),
    /// An integer of up to 64 bits with sign (AMQP `b B s u I i l L`).
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A floating point number (AMQP `f d`).
    Float(f64),
    /// An exact decimal number in its shortest text form, such as `1.20` (AMQP `D`), or an
    /// integer of more than 64 bits.
    Decimal(String),
    /// A text (AMQP `S` holding valid UTF-8).
    Text(String),
    /// Bytes (AMQP `x`, or `S` that is not valid UTF-8).
    Bytes(Bytes),
    /// A point in time, in whole seconds since 1970-01-01 UTC (AMQP `T`).
    Timestamp(i64),
    /// A tagged value of Kombu's JSON codec that has no variant of its own: `datetime`, `date`,
    /// `time`, `uuid`, in the text form that Kombu writes.
    Tagged(Tag, String),
    /// A list (AMQP `A`).
    List(Vec<Self>),
    /// A table of names to values (AMQP `F`).
    Table(Table),
}

/// The `__type__` tags of Kombu's JSON codec whose value is a text.
///
/// Kombu's `decimal`, `bytes` and `base64` tags are [`Value::Decimal`] and [`Value::Bytes`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Tag {
    /// `date`, such as `2020-01-02`.
    Date,
    /// `datetime`, such as `2020-01-02T03:04:05.000006+00:00`.
    Datetime,
    /// `time`, such as `01:02:00`.
    Time,
    /// `uuid`, as 32 hexadecimal digits.
    Uuid,
}

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::UInt(number) => i64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The number as a floating point one, if it is a number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::UInt(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The table, if it is one.
    #[must_use]
    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The list, if it is one.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),+ $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}

value_from! {
    bool => Bool, i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int,
    f32 => Float, f64 => Float, String => Text, &str => Text, &String => Text,
    Bytes => Bytes, Table => Table, Vec<Value> => List,
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::UInt(value), Self::Int)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// Names and values, ordered by name: headers, arguments, nested objects.
#[derive(Clone, Default, PartialEq)]
pub struct Table(BTreeMap<String, Value>);

impl Table {
    /// Makes an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value and returns the table.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets a value; the former one is returned.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name.into(), value.into())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Takes a value out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Whether the name has a value.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Table {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl<N: Into<String>, V: Into<Value>> Extend<(N, V)> for Table {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl IntoIterator for Table {
    type Item = (String, Value);
    type IntoIter = std::collections::btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
