//! What travels: a body of bytes with its properties.

mod properties;

use bytes::Bytes;

pub use properties::Properties;

/// A message as it travels: an encoded body and what is said about it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The encoded, perhaps compressed, body.
    pub body: Bytes,
    /// What is said about the body and its handling. Boxed, for messages are moved a lot.
    pub properties: Box<Properties>,
}

impl Message {
    /// A message of a body and its properties.
    #[must_use]
    pub fn new(body: impl Into<Bytes>, properties: impl Into<Box<Properties>>) -> Self {
        Self { body: body.into(), properties: properties.into() }
    }
}
