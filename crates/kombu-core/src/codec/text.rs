//! Plain text.

use crate::codec::{Codec, Encoded};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// The codec `text`: a text as it is, `text/plain` in UTF-8.
///
/// It reads UTF-8, ASCII and Latin-1. A body whose encoding is `binary` is read as bytes.
///
/// # Kombu
///
/// Kombu sends a text in this form when no serializer is named; it has no name for it there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Text;

impl Codec for Text {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        TYPE
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        match value {
            Value::Text(text) => Ok(Encoded::new(text.clone(), TYPE, "utf-8")),
            _ => Err(Error::new(ErrorKind::Encode, "the codec \"text\" takes a text only")),
        }
    }

    fn decode_value(&self, body: &[u8], content_encoding: &str) -> Result<Value> {
        match content_encoding {
            "binary" | "ascii-8bit" => Ok(Value::Bytes(body.to_vec().into())),
            "utf-8" | "utf8" | "us-ascii" | "ascii" => match std::str::from_utf8(body) {
                Ok(text) => Ok(Value::from(text)),
                Err(error) => Err(Error::new(
                    ErrorKind::Decode,
                    format!("the text is not {content_encoding}"),
                )
                .with("byte", error.valid_up_to())),
            },
            // The first 256 code points of Unicode are Latin-1.
            "latin-1" | "latin1" | "iso-8859-1" | "iso8859-1" => {
                Ok(Value::Text(body.iter().map(|byte| char::from(*byte)).collect()))
            }
            other => Err(Error::new(
                ErrorKind::Decode,
                "the text's encoding is unknown; known are utf-8, us-ascii, latin-1 and binary",
            )
            .with("content_encoding", format_args!("{other:?}"))),
        }
    }
}

/// The name.
impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        "text"
    }
}

const TYPE: &str = "text/plain";
