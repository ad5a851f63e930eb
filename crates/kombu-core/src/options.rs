//! Options by name: from a URL's query, from a map, or set one by one.
//!
//! [`ConnectionOptions::take`] takes out those that mean the same for every transport; what
//! remains is the transport's, which reads it with an [`OptionReader`].
//!
//! # Kombu
//!
//! `transport_options` and the query of the URL. In Kombu a query may only name arguments of
//! `Connection`, its numbers stay texts, and a mistyped transport option is often ignored. Here
//! both sources carry all options, the outcome is the same, and an unknown name is an error.

mod connection;
mod reader;

use std::fmt;

use crate::url::{BrokerUrl, MASK, is_secret_option, is_url_with_credentials};
use crate::value::{Table, Value};

pub use connection::{ConnectionOptions, TlsChoice};
pub use reader::OptionReader;

/// Options by name, not yet checked.
///
/// `Debug` masks values whose name speaks of a secret.
///
/// ```
/// use kombu_core::{BrokerUrl, Options};
/// let url = BrokerUrl::parse("redis://h?visibility_timeout=60&sep=:")?;
/// let options = Options::from_query(&url).overridden_by(Options::new().with("sep", "-"));
/// assert_eq!(options.get("visibility_timeout").and_then(|v| v.as_str()), Some("60"));
/// assert_eq!(options.get("sep").and_then(|v| v.as_str()), Some("-"));
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Options(Table);

impl Options {
    /// No options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The options in a URL's query, all of them texts. Of a name that comes twice the last
    /// counts, as in Kombu.
    #[must_use]
    pub fn from_query(url: &BrokerUrl) -> Self {
        url.query().collect()
    }

    /// Sets an option and returns the options.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets an option; its former value is returned.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.0.insert(name, value)
    }

    /// These options, with those in `others` added and, for names in both, taken instead.
    ///
    #[must_use]
    pub fn overridden_by(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The value of an option.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Takes an option out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Whether there are no options.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The options, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter()
    }

    /// Takes out all options whose name passes a test.
    fn extract(&mut self, wanted: impl Fn(&str) -> bool) -> Self {
        let (wanted, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.0).into_iter().partition(|(name, _)| wanted(name));
        self.0.extend(rest);
        wanted.into_iter().collect()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, shown(name, value)))).finish()
    }
}

impl From<Table> for Options {
    fn from(table: Table) -> Self {
        Self(table)
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Options {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl<N: Into<String>, V: Into<Value>> Extend<(N, V)> for Options {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs);
    }
}

impl IntoIterator for Options {
    type Item = (String, Value);
    type IntoIter = <Table as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// An option's value as it may be shown.
fn shown(name: &str, value: &Value) -> String {
    if is_secret_option(name) {
        return MASK.to_owned();
    }
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) if is_url_with_credentials(text) => MASK.to_owned(),
        // Longer texts, JSON above all, may have secrets within.
        Value::Text(text) if text.len() <= 40 => format!("{text:?}"),
        Value::Text(_) => "a long text".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        _ => "a value of another type".to_owned(),
    }
}
