//! JSON with tags of the user's own, or strictly by the standard.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::codec::json::write::write_strict;
use crate::codec::json::{Json, parse, parse_strict, write};
use crate::codec::{Codec, Encoded};
use crate::error::Result;
use crate::value::tagged::{NAMES, TYPE, VALUE, untag, untag_all_by};
use crate::value::{Table, Value};

/// The codec `json` with rules other than those of [`Json`]: further tags, or strictness.
///
/// It takes the place of [`Json`] in a set of codecs. Reading and writing then take a detour over
/// [`Value`], which costs some speed.
///
/// ```
/// use kombu_core::codec::json::{JsonRules, Tagged};
/// use kombu_core::{Accept, Codecs, Value};
///
/// // A Python program that calls register_type(timedelta, "timedelta", ...).
/// let codecs = Codecs::default().with(JsonRules::new().tag("timedelta", Ok));
/// let encoded = codecs.encode(None, &[Tagged::new("timedelta", &1.5)])?;
/// assert_eq!(encoded.body, r#"[{"__type__":"timedelta","__value__":1.5}]"#);
/// let seconds: [f64; 1] =
///     codecs.decode(Some("application/json"), None, &encoded.body, &Accept::default())?;
/// assert_eq!(seconds, [1.5]);
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Kombu
///
/// Kombu's `register_type` changes the tags of the whole process.
#[derive(Clone, Default)]
pub struct JsonRules {
    strict: bool,
    keep_unknown_tags: bool,
    tags: BTreeMap<String, Reader>,
}

type Reader = Arc<dyn Fn(Value) -> Result<Value> + Send + Sync>;

impl JsonRules {
    /// The rules of [`Json`], to be changed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses what the standard (RFC 8259) lacks and Python writes and reads: NaN and infinities,
    /// in both directions, and halves of surrogate pairs.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Reads objects with this tag by `read`, which is given the content; `Ok` keeps it as it is.
    ///
    /// Tags in the content were read before. A built-in tag can be given another meaning.
    #[must_use]
    pub fn tag(
        mut self,
        name: impl Into<String>,
        read: impl Fn(Value) -> Result<Value> + Send + Sync + 'static,
    ) -> Self {
        self.tags.insert(name.into(), Arc::new(read));
        self
    }

    /// Leaves objects with an unknown tag as they are: tables of `__type__` and `__value__`.
    #[must_use]
    pub fn keep_unknown_tags(mut self) -> Self {
        self.keep_unknown_tags = true;
        self
    }

    fn untag(&self, name: &str, content: Value) -> Result<Value> {
        match self.tags.get(name) {
            Some(read) => read(content).map_err(|error| error.with("tag", name)),
            None if self.keep_unknown_tags && !NAMES.contains(&name) => {
                Ok(Value::Table(Table::new().with(TYPE, name).with(VALUE, content)))
            }
            None => untag(name, content),
        }
    }
}

impl Codec for JsonRules {
    fn name(&self) -> &str {
        Json.name()
    }

    fn content_type(&self) -> &str {
        Json.content_type()
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        let body = if self.strict { write_strict(value)? } else { write(value)? };
        Ok(Encoded::new(body, "application/json", "utf-8"))
    }

    fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let mut value = if self.strict { parse_strict(body)? } else { parse(body)? };
        untag_all_by(&mut value, &|name, content| self.untag(name, content))?;
        Ok(value)
    }
}

impl fmt::Debug for JsonRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonRules")
            .field("strict", &self.strict)
            .field("keep_unknown_tags", &self.keep_unknown_tags)
            .field("tags", &self.tags.keys())
            .finish()
    }
}

/// A value that is written with a tag of the user's own.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tagged<'a, T: ?Sized> {
    #[serde(rename = "__type__")]
    name: &'a str,
    #[serde(rename = "__value__")]
    content: &'a T,
}

impl<'a, T: Serialize + ?Sized> Tagged<'a, T> {
    /// A value with its tag.
    #[must_use]
    pub fn new(name: &'a str, content: &'a T) -> Self {
        Self { name, content }
    }
}
