//! Values in block style.

use base64::Engine as _;

use crate::codec::MAX_DEPTH;
use crate::codec::yaml::is_printable;
use crate::codec::yaml::scalar::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::value::date::timestamp_text;
use crate::value::moment::{Clock, Day};
use crate::value::tagged::BASE64;
use crate::value::{Table, Tag, Value};

/// Writes a value as a document.
pub(super) fn write(value: &Value) -> Result<String> {
    let mut writer = Writer { out: String::with_capacity(128) };
    match value {
        Value::List(items) if !items.is_empty() => writer.list(items, 0, false)?,
        Value::Table(table) if !table.is_empty() => writer.table(table, 0, false)?,
        scalar => {
            writer.scalar(scalar)?;
            writer.out.push('\n');
        }
    }
    Ok(writer.out)
}

struct Writer {
    out: String,
}

impl Writer {
    /// Writes items, each on lines of its own; the first goes on with the line if there is one.
    fn list(&mut self, items: &[Value], indent: usize, mut on_line: bool) -> Result<()> {
        for item in items {
            self.indent(indent, std::mem::take(&mut on_line))?;
            self.out.push('-');
            match item {
                Value::List(items) if !items.is_empty() => {
                    self.out.push(' ');
                    self.list(items, indent + 1, true)?;
                }
                Value::Table(table) if !table.is_empty() => {
                    self.out.push(' ');
                    self.table(table, indent + 1, true)?;
                }
                scalar => self.scalar_on_line(scalar)?,
            }
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, indent: usize, mut on_line: bool) -> Result<()> {
        for (name, value) in table.iter() {
            self.indent(indent, std::mem::take(&mut on_line))?;
            // Before its colon is seen, a key may have 1024 letters at most.
            let start = self.out.len();
            self.text(name);
            if self.out.len() - start > LONG_KEY {
                self.out.insert_str(start, "? ");
                self.out.push('\n');
                self.indent(indent, false)?;
            }
            self.out.push(':');
            match value {
                Value::List(items) if !items.is_empty() => {
                    self.out.push('\n');
                    self.list(items, indent + 1, false)?;
                }
                Value::Table(table) if !table.is_empty() => {
                    self.out.push('\n');
                    self.table(table, indent + 1, false)?;
                }
                scalar => self.scalar_on_line(scalar)?,
            }
        }
        Ok(())
    }

    fn indent(&mut self, indent: usize, on_line: bool) -> Result<()> {
        if indent >= MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::Encode,
                "lists and tables are nested too deep, more than 128 levels",
            ));
        }
        if !on_line {
            self.out.extend(std::iter::repeat_n("  ", indent));
        }
        Ok(())
    }

    fn scalar_on_line(&mut self, value: &Value) -> Result<()> {
        self.out.push(' ');
        self.scalar(value)?;
        self.out.push('\n');
        Ok(())
    }

    /// Writes what has no parts: also empty lists and tables.
    fn scalar(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(truth) => self.out.push_str(if *truth { "true" } else { "false" }),
            Value::Int(number) => self.out.push_str(&number.to_string()),
            Value::UInt(number) => self.out.push_str(&number.to_string()),
            Value::Float(number) => self.out.push_str(&float(*number)),
            Value::Decimal(text) => match Kind::of_plain(text) {
                Kind::Int if !text.contains(['_', ':', 'x', 'b']) => self.out.push_str(text),
                _ => return Err(no_form("a decimal")),
            },
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => {
                self.out.push_str("!!binary \"");
                BASE64.encode_string(bytes, &mut self.out);
                self.out.push('"');
            }
            Value::Timestamp(seconds) => match timestamp_text(*seconds) {
                Some(text) => self.out.push_str(&text),
                None => return Err(no_form("a timestamp outside of the years 1 to 9999")),
            },
            Value::Tagged(Tag::Date, text) => {
                let day = Day::parse(text).ok_or_else(|| no_form("what is no date"))?;
                self.out.push_str(&day.to_string());
            }
            Value::Tagged(Tag::Datetime, text) => self.out.push_str(&datetime(text)?),
            Value::Tagged(tag, _) => return Err(no_form(tag.name())),
            Value::List(_) => self.out.push_str("[]"),
            Value::Table(_) => self.out.push_str("{}"),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if is_plain(text) {
            self.out.push_str(text);
            return;
        }
        self.out.push('"');
        for letter in text.chars() {
            let code = u32::from(letter);
            match letter {
                '"' | '\\' => self.out.extend(['\\', letter]),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                // Line breaks of YAML 1.1, and the mark of the start of a text.
                '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => self.escape(code),
                _ if is_printable(letter) => self.out.push(letter),
                _ => self.escape(code),
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, code: u32) {
        let escape = match code {
            0..=0xff => format!("\\x{code:02X}"),
            0x100..=0xffff => format!("\\u{code:04X}"),
            _ => format!("\\U{code:08X}"),
        };
        self.out.push_str(&escape);
    }
}

/// Whether a text without quotes is the same text. Not every text is found that would be.
fn is_plain(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
        && text.len() <= 80
        && text.split(' ').all(|word| !word.is_empty() && word.bytes().all(inner))
        && Kind::of_plain(text) == Kind::Str
}

/// With a point and a sign of the exponent, without which it is a text in YAML 1.1.
fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = format!("{number:?}");
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{mantissa}{point}e{sign}{exponent}")
}

fn datetime(text: &str) -> Result<String> {
    let (day, clock) = Day::parse_with_clock(text).ok_or_else(|| no_form("what is no datetime"))?;
    let whole_minutes =
        |clock: Clock| clock.offset.is_none_or(|offset| offset.micros() % 60_000_000 == 0);
    match whole_minutes(clock) {
        true => Ok(format!("{day}T{clock}")),
        false => Err(no_form("a datetime whose offset has seconds")),
    }
}

fn no_form(what: &'static str) -> Error {
    Error::new(ErrorKind::Encode, "YAML has no form for it; send it as a text").with("kind", what)
}

/// Longer keys are marked as such.
const LONG_KEY: usize = 120;
