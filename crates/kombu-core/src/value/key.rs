//! Which values can be names in a [`Table`](super::Table).

use super::Value;

impl Value {
    /// The name that a key of a map becomes: numbers, truth values and null are written as in
    /// Python's JSON. `None` if it is bytes, a list, a table or a timestamp.
    pub(crate) fn into_key(self) -> Option<String> {
        match self {
            Self::Text(text) | Self::Decimal(text) | Self::Tagged(_, text) => Some(text),
            Self::Int(number) => Some(number.to_string()),
            Self::UInt(number) => Some(number.to_string()),
            Self::Float(number) => Some(format!("{number:?}")),
            Self::Bool(truth) => Some(truth.to_string()),
            Self::Null => Some("null".to_owned()),
            Self::Bytes(_) | Self::List(_) | Self::Table(_) | Self::Timestamp(_) => None,
        }
    }
}
