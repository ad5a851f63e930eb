//! Bytes and text without any form.

use bytes::Bytes;

use crate::codec::{Codec, Encoded, Text};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// The codec `raw`: bytes as they are, `application/data`.
///
/// It takes bytes and lists of numbers below 256 (what `Vec<u8>` serializes to) with the encoding
/// `binary`, and texts with `utf-8`. A body is read as a text unless its encoding is `binary`.
/// `application/text` and bodies without a content type are read likewise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Raw;

impl Raw {
    pub(super) const TYPE: &str = "application/data";
}

impl Codec for Raw {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        Self::TYPE
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        let binary = |body: Bytes| Encoded::new(body, Self::TYPE, "binary");
        match value {
            Value::Bytes(bytes) => Ok(binary(bytes.clone())),
            Value::Text(text) => Ok(Encoded::new(text.clone(), Self::TYPE, "utf-8")),
            Value::List(items) => {
                let byte = |item: &Value| item.as_i64().and_then(|number| number.try_into().ok());
                items
                    .iter()
                    .map(byte)
                    .collect::<Option<Vec<u8>>>()
                    .map(|bytes| binary(bytes.into()))
                    .ok_or_else(refused)
            }
            _ => Err(refused()),
        }
    }

    fn decode_value(&self, body: &[u8], content_encoding: &str) -> Result<Value> {
        Text.decode_value(body, content_encoding)
    }
}

/// The name.
impl AsRef<str> for Raw {
    fn as_ref(&self) -> &str {
        "raw"
    }
}

fn refused() -> Error {
    Error::new(ErrorKind::Encode, "the codec \"raw\" takes bytes or a text only")
}
