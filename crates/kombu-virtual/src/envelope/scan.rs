//! Steps through JSON objects without building anything.

use kombu_core::codec::json;
use kombu_core::{Error, ErrorKind, Result, Value};
use memchr::memchr2;

/// A value as it stands in the text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Raw<'a> {
    /// A string without escapes: what is between its quotes.
    Plain(&'a str),
    /// Any other value.
    Json(&'a str),
}

impl<'a> Raw<'a> {
    /// The value, in full.
    pub(super) fn parse(self) -> Result<Value> {
        match self {
            Self::Plain(text) => Ok(Value::from(text)),
            Self::Json(text) => json::parse(text.as_bytes()),
        }
    }

    pub(super) fn is_null(self) -> bool {
        self == Self::Json("null")
    }
}

/// A place in a text of JSON.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Steps through an object; `field` is given each key and steps over its value.
    pub(super) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<()> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            match self.value()? {
                Raw::Plain(key) => {
                    self.expect(b':')?;
                    field(self, key)?;
                }
                other => {
                    let Value::Text(key) = other.parse()? else {
                        return Err(self.wrong("a key in double quotes"));
                    };
                    self.expect(b':')?;
                    field(self, &key)?;
                }
            }
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// Steps through an object, or over any other value.
    pub(super) fn object_or_else(
        &mut self,
        field: impl FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<Option<Raw<'a>>> {
        self.skip_spaces();
        match self.peek() {
            Some(b'{') => self.object(field).map(|()| None),
            _ => self.value().map(Some),
        }
    }

    /// Checks that nothing follows.
    pub(super) fn end(&mut self) -> Result<()> {
        self.skip_spaces();
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("the end of the text")) }
    }

    /// Steps over a value.
    pub(super) fn value(&mut self) -> Result<Raw<'a>> {
        self.skip_spaces();
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                let plain = self.string()?;
                return Ok(match self.text.get(start + 1..self.at - 1) {
                    Some(inside) if plain => Raw::Plain(inside),
                    _ => Raw::Json(self.since(start)),
                });
            }
            Some(b'{' | b'[') => self.nested()?,
            Some(_) => {
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_space(*byte);
                let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
            None => {}
        }
        if self.at == start { Err(self.wrong("a value")) } else { Ok(Raw::Json(self.since(start))) }
    }

    /// Steps over a list or object, without looking whether it is well-formed.
    fn nested(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'{' | b'[') => depth += 1,
                Some(b'}' | b']') => depth -= 1,
                Some(b'"') => {
                    self.string()?;
                    continue;
                }
                Some(_) => {}
                None => return Err(self.wrong("the end of a list or object")),
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Steps over a string; true if it has no escapes.
    fn string(&mut self) -> Result<bool> {
        self.at += 1;
        let mut plain = true;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(found) = memchr2(b'"', b'\\', rest) else {
                return Err(self.wrong("the end of a string"));
            };
            self.at += found + 1;
            if rest.get(found) == Some(&b'"') {
                return Ok(plain);
            }
            plain = false;
            // The escaped byte; one that is missing is found missing above.
            self.at = (self.at + 1).min(self.text.len());
        }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: u8) -> Result<()> {
        if self.take(wanted) {
            return Ok(());
        }
        Err(self.wrong(match wanted {
            b'{' => "an object",
            b':' => "a colon",
            _ => "a comma or a closing bracket",
        }))
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn wrong(&self, expected: &str) -> Error {
        Error::new(ErrorKind::Decode, format!("{expected} should be here")).with("byte", self.at)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanned(text: &str) -> Result<Value> {
        let mut table = kombu_core::Table::new();
        let mut scanner = Scanner::new(text);
        scanner.object(|scanner, key| {
            table.insert(key, scanner.value()?.parse()?);
            Ok(())
        })?;
        scanner.end()?;
        Ok(table.into())
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("NaN".to_owned()),
            Just("-Infinity".to_owned()),
            any::<i32>().prop_map(|number| number.to_string()),
            "[a-zé\"\\\\\n {}\\[\\],:]{0,8}".prop_map(|text| json_text(&text)),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(" , "))),
                prop::collection::vec(("[a-z\"\\\\]{0,3}", inner), 0..4)
                    .prop_map(|fields| object(&fields)),
            ]
        })
    }

    fn object(fields: &[(String, String)]) -> String {
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| format!("{} :\n{value}", json_text(key))).collect();
        format!("{{ {} }}", fields.join(","))
    }

    fn json_text(text: &str) -> String {
        String::from_utf8(json::write(text).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn scanning_reads_what_parsing_reads(
            given in prop::collection::vec(("[a-z\"\\\\]{0,3}", value()), 0..5).prop_map(|fields| object(&fields))
        ) {
            let parsed = json::parse(given.as_bytes()).unwrap();
            let scanned = scanned(&given).unwrap();
            // NaN is unequal to itself.
            prop_assert_eq!(format!("{parsed:?}"), format!("{scanned:?}"));
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"[{}\[\]",:\\ a1n]{0,40}"#) {
            let parsed = json::parse(text.as_bytes());
            match (scanned(&text), parsed) {
                (Ok(scanned), Ok(parsed)) => prop_assert_eq!(scanned, parsed),
                (Ok(scanned), Err(error)) => {
                    prop_assert!(false, "{scanned:?} although {error}");
                }
                (Err(error), Ok(Value::Table(parsed))) => {
                    prop_assert!(false, "{error} although {parsed:?}");
                }
                _ => {}
            }
        }
    }
}
