//! The bytes of a pickle, one argument after the other.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

pub(super) struct Source<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| self.cut())
    }

    /// As many bytes as the byte before them says.
    pub(super) fn counted1(&mut self) -> Result<&'a [u8]> {
        let length = self.byte()?;
        self.take(length.into())
    }

    /// As many bytes as the four bytes before them say.
    pub(super) fn counted4(&mut self) -> Result<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| self.cut())?)
    }

    /// As many bytes as the eight bytes before them say.
    pub(super) fn counted8(&mut self) -> Result<&'a [u8]> {
        let length = u64::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| self.cut())?)
    }

    /// The rest of the line, without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).ok_or_else(|| self.cut())?;
        let line = self.take(length)?;
        self.at += 1;
        Ok(line)
    }

    /// The rest of the line, which must be ASCII.
    pub(super) fn ascii_line(&mut self) -> Result<&'a str> {
        let line = self.line()?;
        match std::str::from_utf8(line) {
            Ok(line) if line.is_ascii() => Ok(line),
            _ => Err(self.failed("an argument is not ASCII")),
        }
    }

    /// The error of something that is wrong here.
    pub(super) fn failed(&self, what: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Decode, what).with("byte", self.at)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let bytes = end.and_then(|end| self.body.get(self.at..end)).ok_or_else(|| self.cut())?;
        self.at += length;
        Ok(bytes)
    }

    fn cut(&self) -> Error {
        self.failed("the pickle ends too early")
    }
}

/// A text in UTF-8. Halves of surrogate pairs, which Python's texts may have, become U+FFFD.
pub(super) fn utf8(bytes: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) if text.is_empty() => return Some(valid.to_owned()),
            Ok(valid) => {
                text.push_str(valid);
                return Some(text);
            }
            Err(error) => {
                let (valid, broken) = rest.split_at(error.valid_up_to());
                let [0xed, 0xa0..=0xbf, 0x80..=0xbf, tail @ ..] = broken else {
                    return None;
                };
                text.push_str(std::str::from_utf8(valid).ok()?);
                text.push(char::REPLACEMENT_CHARACTER);
                rest = tail;
            }
        }
    }
}

/// A text of protocol 0: Latin-1 with `\u` and `\U` escapes.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((first, tail)) = rest.split_first() {
        let digits = match (first, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(*first));
                rest = tail;
                continue;
            }
        };
        let hex = tail.get(1..=digits).and_then(|hex| std::str::from_utf8(hex).ok())?;
        let valid = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = valid.then(|| u32::from_str_radix(hex, 16).ok()).flatten()?;
        text.push(match char::from_u32(code) {
            Some(letter) => letter,
            None if (0xd800..0xe000).contains(&code) => char::REPLACEMENT_CHARACTER,
            None => return None,
        });
        rest = tail.get(1 + digits..).unwrap_or_default();
    }
    Some(text)
}

/// The bytes of a quoted text of Python 2, with backslash escapes.
pub(super) fn quoted(line: &[u8]) -> Option<Vec<u8>> {
    let (quote, rest) = line.trim_ascii_end().split_first()?;
    let (last, mut rest) = rest.split_last().map(|(last, rest)| (*last, rest))?;
    if last != *quote || !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, tail) = rest.split_first()?;
        rest = tail;
        bytes.push(match escape {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'\'' | b'"' => *escape,
            b'x' => {
                let (hex, tail) = rest.split_at_checked(2)?;
                rest = tail;
                let hex = std::str::from_utf8(hex).ok().filter(|hex| !hex.starts_with('+'))?;
                u8::from_str_radix(hex, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(bytes)
}
