//! YAML as PyYAML's safe loader reads it and its safe dumper writes it.

mod compose;
mod scalar;
mod timestamp;
mod write;

use std::borrow::Cow;

use crate::codec::{Codec, Encoded};
use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// The codec `yaml`: `application/x-yaml` in UTF-8, YAML 1.1 as PyYAML's safe loader has it.
///
/// Hence `yes`, `no`, `on` and `off` are truth values, `010` is eight, `1:30` ninety and
/// `2020-01-02` a date; `!!binary`, `!!set`, `!!omap`, `!!pairs` and merge keys (`<<`) are read,
/// and any other tag is refused. Sets and the pairs of ordered maps become lists, integers of more
/// than 64 bits [`Value::Decimal`]. Keys that are numbers, truth values, null, or dates become
/// texts. Documents in UTF-16 with a byte order mark are read as well.
///
/// Nesting is limited to [`MAX_DEPTH`](crate::codec::MAX_DEPTH), and the copies that aliases make
/// to 64 MiB or 64 times the size of the document, if that is more. An alias to a node that it is
/// in is refused.
///
/// Written is block style. Bytes, dates, datetimes and timestamps have a form, and decimals if
/// they are integers; times, UUIDs and other decimals have none, as in Python: send them as texts.
///
/// # Kombu
///
/// The parser follows YAML 1.2 where the two versions part in what is a line break or a plain
/// text, which PyYAML's dumper never makes use of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Yaml;

impl Codec for Yaml {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        TYPE
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        Ok(Encoded::new(write::write(value)?, TYPE, "utf-8"))
    }

    /// As in Kombu the encoding is not looked at. An empty body is null.
    fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
        compose::read(&text(body)?)
    }
}

/// The name.
impl AsRef<str> for Yaml {
    fn as_ref(&self) -> &str {
        "yaml"
    }
}

/// The text of a document: UTF-8, or UTF-16 if it starts with the mark of that.
fn text(body: &[u8]) -> Result<Cow<'_, str>> {
    let failed = |what| Error::new(ErrorKind::Decode, what);
    let unit: Option<fn([u8; 2]) -> u16> = match body {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    let text = match (unit, body.as_chunks::<2>()) {
        (Some(unit), (pairs, [])) => {
            let units = pairs.iter().map(|pair| unit(*pair)).collect::<Vec<_>>();
            let text = String::from_utf16(&units);
            Cow::Owned(text.map_err(|_| failed("the document is not UTF-16"))?)
        }
        (Some(_), _) => return Err(failed("the document is not UTF-16")),
        (None, _) => {
            let text = std::str::from_utf8(body).map_err(|error| {
                failed("the document is not UTF-8").with("byte", error.valid_up_to())
            });
            Cow::Borrowed(text?)
        }
    };
    match text.char_indices().find(|(_, letter)| !is_printable(*letter)) {
        Some((at, letter)) => {
            let error = failed("YAML does not have this letter, except escaped");
            Err(error.with("byte", at).with("letter", letter.escape_unicode()))
        }
        None => Ok(text),
    }
}

/// Whether a letter may be in a document (YAML 1.1, section 4.1.1).
fn is_printable(letter: char) -> bool {
    matches!(letter,
        '\t' | '\n' | '\r' | '\u{85}' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

const TYPE: &str = "application/x-yaml";
