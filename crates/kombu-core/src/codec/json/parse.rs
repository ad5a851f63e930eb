//! The parser: what Python's `json.loads` reads, or strictly what the standard allows.

use std::borrow::Cow;

use memchr::memchr2;

use crate::codec::json::MAX_DEPTH;
use crate::error::{Error, ErrorKind, Result};
use crate::value::tagged::untag_all;
use crate::value::{Table, Value};

/// Reads JSON as leniently as Python: see [`Json`](crate::codec::Json). Tagged objects stay
/// objects.
///
/// # Errors
///
/// [`ErrorKind::Decode`], with the byte at which it went wrong.
///
/// ```
/// use kombu_core::codec::json::parse;
/// let value = parse(br#"{"rate": NaN}"#)?;
/// assert!(value.as_table().unwrap().get("rate").unwrap().as_f64().unwrap().is_nan());
/// # Ok::<(), kombu_core::Error>(())
/// ```
pub fn parse(body: &[u8]) -> Result<Value> {
    parse_as(body, false)
}

/// Reads JSON as the standard has it (RFC 8259): without bare `NaN` and `Infinity`, halves of
/// surrogate pairs, and numbers that are too large for a floating point one. Tagged objects stay
/// objects.
///
/// # Errors
///
/// [`ErrorKind::Decode`], with the byte at which it went wrong.
pub fn parse_strict(body: &[u8]) -> Result<Value> {
    parse_as(body, true)
}

fn parse_as(body: &[u8], strict: bool) -> Result<Value> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::new(ErrorKind::Decode, "JSON must be UTF-8").with("byte", error.valid_up_to())
    })?;
    let mut parser = Parser { text, at: 0, strict };
    let value = parser.value(0)?;
    parser.skip_spaces();
    match parser.peek() {
        None => Ok(value),
        Some(_) => Err(parser.failed("there is more after the value")),
    }
}

/// Replaces Kombu's tagged objects in a parsed value by what they stand for.
///
/// # Errors
///
/// [`ErrorKind::Decode`] for an unknown tag, and for a content that is not what the tag claims.
///
/// ```
/// use kombu_core::Value;
/// use kombu_core::codec::json::{parse, untag};
/// let value = parse(br#"{"__type__": "decimal", "__value__": "1.20"}"#)?;
/// assert_eq!(untag(value)?, Value::Decimal("1.20".into()));
/// # Ok::<(), kombu_core::Error>(())
/// ```
pub fn untag(mut value: Value) -> Result<Value> {
    untag_all(&mut value)?;
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    /// The next byte. It is at the start of a letter whenever a method begins or ends.
    at: usize,
    strict: bool,
}

impl<'a> Parser<'a> {
    fn value(&mut self, depth: usize) -> Result<Value> {
        self.skip_spaces();
        match self.peek() {
            Some(b'"') => Ok(Value::Text(self.string()?.into_owned())),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'N') if !self.strict => self.word("NaN", Value::Float(f64::NAN)),
            Some(b'I') if !self.strict => self.word("Infinity", Value::Float(f64::INFINITY)),
            Some(_) => Err(self.failed("a value should be here")),
            None => Err(self.failed("the text ends where a value should be")),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if !self.take(b']') {
            loop {
                items.push(self.value(depth)?);
                if !self.another(b']', "',' or ']' should be here")? {
                    break;
                }
            }
        }
        Ok(Value::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        self.enter(depth)?;
        let mut table = Table::new();
        if !self.take(b'}') {
            loop {
                self.skip_spaces();
                if self.peek() != Some(b'"') {
                    return Err(self.failed("a key in double quotes should be here"));
                }
                let key = self.string()?.into_owned();
                self.skip_spaces();
                if !self.take(b':') {
                    return Err(self.failed("':' should be here"));
                }
                table.insert(key, self.value(depth)?);
                if !self.another(b'}', "',' or '}' should be here")? {
                    break;
                }
            }
        }
        Ok(Value::Table(table))
    }

    /// Steps over the opening bracket and the spaces behind it.
    fn enter(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.failed("lists and objects are nested too deep, more than 128 levels"));
        }
        self.at += 1;
        self.skip_spaces();
        Ok(())
    }

    /// Whether a comma and thus another entry follows, and not the closing bracket.
    fn another(&mut self, close: u8, expected: &'static str) -> Result<bool> {
        self.skip_spaces();
        if self.take(b',') {
            Ok(true)
        } else if self.take(close) {
            Ok(false)
        } else {
            Err(self.failed(expected))
        }
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        let negative = self.take(b'-');
        if negative && !self.strict && self.peek() == Some(b'I') {
            return self.word("Infinity", Value::Float(f64::NEG_INFINITY));
        }
        let mut magnitude = Some(0_u64);
        let first = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            magnitude = magnitude
                .and_then(|number| number.checked_mul(10))
                .and_then(|number| number.checked_add(u64::from(digit - b'0')));
            self.at += 1;
            if self.at == first + 1 && digit == b'0' {
                break;
            }
        }
        if self.at == first {
            return Err(self.failed("a digit should be here"));
        }
        let whole_end = self.at;
        if self.peek() == Some(b'.') && self.digit_at(self.at + 1) {
            self.at += 1;
            self.skip_digits();
        }
        if let Some(b'e' | b'E') = self.peek() {
            let signed = matches!(self.byte(self.at + 1), Some(b'+' | b'-'));
            let digits = self.at + 1 + usize::from(signed);
            if self.digit_at(digits) {
                self.at = digits;
                self.skip_digits();
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        if self.at > whole_end {
            let number = text.parse::<f64>().map_err(|_| self.failed("a number is broken"))?;
            if self.strict && number.is_infinite() {
                return Err(self.failed("a number is too large"));
            }
            return Ok(Value::Float(number));
        }
        let number = match magnitude {
            Some(number) if negative => 0_i64.checked_sub_unsigned(number).map(Value::Int),
            Some(number) => Some(Value::from(number)),
            None => None,
        };
        Ok(number.unwrap_or_else(|| Value::Decimal(text.to_owned())))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.failed("a value should be here"));
        }
        self.at += word.len();
        Ok(value)
    }

    /// A string from its opening quote; borrowed if there is no escape in it.
    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.at += 1;
        let (plain, end) = self.plain()?;
        if end == b'"' {
            return Ok(Cow::Borrowed(plain));
        }
        let mut string = String::with_capacity(plain.len() + 32);
        string.push_str(plain);
        loop {
            string.push(self.escape()?);
            let (plain, end) = self.plain()?;
            string.push_str(plain);
            if end == b'"' {
                return Ok(Cow::Owned(string));
            }
        }
    }

    /// The part of a string up to a quote or a backslash, and which of them; it is stepped over.
    fn plain(&mut self) -> Result<(&'a str, u8)> {
        // Python escapes everything outside ASCII: one escape often follows the other.
        if let Some(end @ (b'"' | b'\\')) = self.peek() {
            self.at += 1;
            return Ok(("", end));
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = memchr2(b'"', b'\\', rest.as_bytes());
        let (plain, tail) = rest.split_at(found.unwrap_or(rest.len()));
        if let Some(control) = plain.bytes().position(|byte| byte < b' ') {
            self.at += control;
            return Err(self.failed("a control character in a string must be escaped"));
        }
        self.at += plain.len();
        match tail.bytes().next() {
            Some(end) => {
                self.at += 1;
                Ok((plain, end))
            }
            None => Err(self.failed("the text ends inside of a string")),
        }
    }

    /// The letter of an escape, from behind the backslash.
    fn escape(&mut self) -> Result<char> {
        let letter = match self.peek() {
            Some(letter @ (b'"' | b'\\' | b'/')) => char::from(letter),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.failed("the letter after a backslash is no escape")),
        };
        self.at += 1;
        Ok(letter)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let Some(unit) = self.hex(self.at + 1) else {
            return Err(self.failed("four hexadecimal digits should follow \\u"));
        };
        self.at += 5;
        // The second half of a pair is taken only if it completes the first one.
        if (0xd800..0xdc00).contains(&unit)
            && self.byte(self.at) == Some(b'\\')
            && self.byte(self.at + 1) == Some(b'u')
            && let Some(low @ 0xdc00..0xe000) = self.hex(self.at + 2)
        {
            self.at += 6;
            let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        match char::from_u32(unit) {
            Some(letter) => Ok(letter),
            None if self.strict => Err(self.failed("half of a surrogate pair is no letter")),
            None => Ok(char::REPLACEMENT_CHARACTER),
        }
    }

    /// Four hexadecimal digits.
    fn hex(&self, at: usize) -> Option<u32> {
        let digits = self.text.as_bytes().get(at..at + 4)?;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    }

    fn skip_spaces(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn skip_digits(&mut self) {
        while self.digit_at(self.at) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn digit_at(&self, at: usize) -> bool {
        self.byte(at).is_some_and(|byte| byte.is_ascii_digit())
    }

    fn failed(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Decode, what).with("byte", self.at)
    }
}
