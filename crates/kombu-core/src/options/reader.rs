//! How options become the fields of a typed struct.

use std::path::PathBuf;
use std::time::Duration;

use super::{Options, connection, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::suggest;
use crate::tls;
use crate::url::Secret;
use crate::value::{Table, Value};

/// Reads options one by one, each with its type, and at the end finds the unknown ones.
///
/// A method returns `None` if the option is absent or null. A text, as a URL's query has it, and
/// the value itself give the same result.
///
/// ```
/// use std::time::Duration;
/// use kombu_core::{OptionReader, Options};
/// let options = Options::new().with("visibility_timeout", "1.5").with("max_connections", 10);
/// let mut reader = OptionReader::new("redis", options);
/// let timeout = reader.duration("visibility_timeout")?;
/// let connections = reader.u16("max_connections")?;
/// reader.finish()?;
/// assert_eq!((timeout, connections), (Some(Duration::from_millis(1500)), Some(10)));
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Errors
///
/// All reading methods return `InvalidArgument` for a value that does not fit, with the option's
/// name, its value unless the name speaks of a secret, and what would be right.
#[derive(Debug)]
pub struct OptionReader {
    owner: &'static str,
    options: Options,
    known: Vec<&'static str>,
}

impl OptionReader {
    /// Reads `options` for a transport of this name, which errors mention.
    #[must_use]
    pub fn new(owner: &'static str, options: Options) -> Self {
        Self { owner, options, known: Vec::new() }
    }

    /// A truth value: `true`, `false`, or `1 0 yes no on off` in any case.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn bool(&mut self, name: &'static str) -> Result<Option<bool>> {
        self.read(name, "true or false", |value| match value {
            Value::Bool(truth) => Some(*truth),
            Value::Int(0) => Some(false),
            Value::Int(1) => Some(true),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Some(true),
                "false" | "0" | "no" | "off" => Some(false),
                _ => None,
            },
            _ => None,
        })
    }

    /// A whole number up to 65535.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn u16(&mut self, name: &'static str) -> Result<Option<u16>> {
        self.read(name, "a whole number from 0 to 65535", integer)
    }

    /// A whole number up to 4294967295.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn u32(&mut self, name: &'static str) -> Result<Option<u32>> {
        self.read(name, "a whole number from 0 to 4294967295", integer)
    }

    /// A whole number of up to 64 bits, not negative.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn u64(&mut self, name: &'static str) -> Result<Option<u64>> {
        self.read(name, "a whole number from 0 on", integer)
    }

    /// A finite number, whole or not.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn float(&mut self, name: &'static str) -> Result<Option<f64>> {
        self.read(name, "a number such as 0.8", number)
    }

    /// A time in seconds, whole or not, not negative.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>> {
        self.read(name, "seconds from 0 on, such as 10 or 1.5", |value| match integer(value) {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => Duration::try_from_secs_f64(number(value)?).ok(),
        })
    }

    /// A text; a whole number is taken as its digits.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        self.read(name, "a text", text)
    }

    /// One of some words, exactly as they are written.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else, naming the words.
    pub fn one_of(
        &mut self,
        name: &'static str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>> {
        self.read(name, &words.join(", "), |value| {
            let text = value.as_str()?;
            words.iter().copied().find(|word| *word == text)
        })
    }

    /// A path in the file system, not empty.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn path(&mut self, name: &'static str) -> Result<Option<PathBuf>> {
        self.read(name, "a path", |value| {
            value.as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
        })
    }

    /// A text that is not to be shown.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else, without the value, whatever the option's name.
    pub fn secret(&mut self, name: &'static str) -> Result<Option<Secret>> {
        self.known.push(name);
        match self.options.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match text(&value) {
                Some(text) => Ok(Some(Secret::new(text))),
                None => Err(self.wrong(name, crate::url::MASK, "a text")),
            },
        }
    }

    /// A table; as a text, a JSON object.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn table(&mut self, name: &'static str) -> Result<Option<Table>> {
        self.read(name, "a table, as text a JSON object", |value| match value {
            Value::Table(table) => Some(table.clone()),
            Value::Text(text) => serde_json::from_str(text).ok(),
            _ => None,
        })
    }

    /// A list of any values; as a text, a JSON array.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn list(&mut self, name: &'static str) -> Result<Option<Vec<Value>>> {
        self.read(name, "a list, as text a JSON array", |value| match value {
            Value::List(list) => Some(list.clone()),
            Value::Text(text) => serde_json::from_str(text).ok(),
            _ => None,
        })
    }

    /// A list of texts; as a text, divided by commas.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn text_list(&mut self, name: &'static str) -> Result<Option<Vec<String>>> {
        self.read(name, "texts, divided by commas", |value| {
            items(value)?.iter().map(text).collect()
        })
    }

    /// A list of whole numbers, not negative; as a text, divided by commas.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for anything else.
    pub fn number_list(&mut self, name: &'static str) -> Result<Option<Vec<u64>>> {
        self.read(name, "whole numbers from 0 on, divided by commas", |value| {
            items(value)?.iter().map(integer).collect()
        })
    }

    /// Ends the reading: every option must have been asked for.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if an option is left, naming it, the closest known one and all known
    /// ones.
    pub fn finish(mut self) -> Result<()> {
        let Some(unknown) = self.options.iter().next().map(|(name, _)| name.to_owned()) else {
            return Ok(());
        };
        self.known.sort_unstable();
        let common = connection::NAMES.iter().chain(tls::NAMES).copied();
        let hint = suggest::did_you_mean(&unknown, self.known.iter().copied().chain(common));
        let hint = if hint.is_empty() { ";".to_owned() } else { hint };
        let own = match self.known.as_slice() {
            [] => "none of its own".to_owned(),
            known => known.join(", "),
        };
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!(
                "unknown option {unknown:?}{hint} {} has: {own}; every transport has: {}, {}",
                self.owner,
                connection::NAMES.join(", "),
                tls::NAMES.join(", "),
            ),
        ))
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        right: &str,
        convert: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.known.push(name);
        match self.options.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match convert(&value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.wrong(name, &shown(name, &value), right)),
            },
        }
    }

    fn wrong(&self, name: &str, value: &str, right: &str) -> Error {
        Error::new(ErrorKind::InvalidArgument, format!("option {name} is {value}; write {right}"))
            .with("transport", self.owner)
    }
}

fn integer<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let number: u64 = match value {
        Value::Int(number) => (*number).try_into().ok()?,
        Value::UInt(number) => *number,
        // Not a sign, which `parse` would take.
        Value::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => text.parse().ok()?,
        _ => return None,
    };
    number.try_into().ok()
}

fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Text(text) => text.parse().ok()?,
        other => other.as_f64()?,
    };
    Some(number).filter(|number: &f64| number.is_finite())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string()),
        Value::UInt(number) => Some(number.to_string()),
        _ => None,
    }
}

fn items(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::List(list) => Some(list.clone()),
        Value::Text(text) if text.is_empty() => Some(Vec::new()),
        Value::Text(text) => Some(text.split(',').map(|item| item.trim().into()).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::url::BrokerUrl;

    #[derive(Debug, Default, PartialEq)]
    struct Typed {
        confirm: Option<bool>,
        small: Option<u16>,
        medium: Option<u32>,
        large: Option<u64>,
        factor: Option<f64>,
        timeout: Option<Duration>,
        database: Option<String>,
        folder: Option<PathBuf>,
        token: Option<Secret>,
        queues: Option<Table>,
        names: Option<Vec<String>>,
        steps: Option<Vec<u64>>,
        method: Option<&'static str>,
        extra: Option<Vec<Value>>,
    }

    fn typed(options: Options) -> Result<Typed> {
        let mut reader = OptionReader::new("test", options);
        let typed = Typed {
            confirm: reader.bool("confirm")?,
            small: reader.u16("small")?,
            medium: reader.u32("medium")?,
            large: reader.u64("large")?,
            factor: reader.float("factor")?,
            timeout: reader.duration("timeout")?,
            database: reader.text("database")?,
            folder: reader.path("folder")?,
            token: reader.secret("token")?,
            queues: reader.table("queues")?,
            names: reader.text_list("names")?,
            steps: reader.number_list("steps")?,
            method: reader.one_of("method", &["PLAIN", "EXTERNAL"])?,
            extra: reader.list("extra")?,
        };
        reader.finish()?;
        Ok(typed)
    }

    #[test]
    fn query_map_and_setters_give_the_same() {
        let set = Typed {
            confirm: Some(false),
            small: Some(65535),
            medium: Some(4_294_967_295),
            large: Some(u64::MAX),
            factor: Some(0.5),
            timeout: Some(Duration::from_millis(1500)),
            database: Some("2".to_owned()),
            folder: Some("/data in".into()),
            token: Some("hush".into()),
            queues: Some(Table::new().with("a", Table::new().with("n", 1))),
            names: Some(vec!["a".to_owned(), "b".to_owned()]),
            steps: Some(vec![0, 3, 6]),
            method: Some("PLAIN"),
            extra: Some(vec![Value::Int(1), Value::from("x")]),
        };
        let url = BrokerUrl::parse(
            "memory://?confirm=0&small=65535&medium=4294967295&large=18446744073709551615\
             &factor=.5&timeout=1.5&database=2&folder=%2Fdata+in&token=hush\
             &queues=%7B%22a%22:%7B%22n%22:1%7D%7D&names=a,b&steps=0,%203,6&method=PLAIN\
             &extra=%5B1,%22x%22%5D",
        )
        .unwrap();
        let map = Options::new()
            .with("confirm", false)
            .with("small", 65535)
            .with("medium", 4_294_967_295_i64)
            .with("large", u64::MAX)
            .with("factor", 0.5)
            .with("timeout", 1.5)
            .with("database", 2)
            .with("folder", "/data in")
            .with("token", "hush")
            .with("queues", Table::new().with("a", Table::new().with("n", 1)))
            .with("names", vec![Value::from("a"), Value::from("b")])
            .with("steps", vec![Value::Int(0), Value::Int(3), Value::Int(6)])
            .with("method", "PLAIN")
            .with("extra", vec![Value::Int(1), Value::from("x")]);
        assert_eq!(typed(Options::from_query(&url)).unwrap(), set);
        assert_eq!(typed(map).unwrap(), set);
        let nulls = Options::new().with("confirm", Value::Null).with("timeout", None::<i64>);
        assert_eq!(typed(nulls).unwrap(), Typed::default());
    }

    #[test]
    fn values_that_do_not_fit_are_named_with_what_is_right() {
        let no_finite = "seconds from 0 on, such as 10 or 1.5";
        for (name, value, says) in [
            ("confirm", Value::from("maybe"), "option confirm is \"maybe\"; write true or false"),
            ("confirm", Value::from(""), "option confirm is \"\"; write true or false"),
            ("confirm", Value::from(2), "option confirm is 2; write true or false"),
            ("small", Value::from("65536"), "\"65536\"; write a whole number from 0 to 65535"),
            ("small", Value::from(-1), "option small is -1"),
            ("small", Value::from("+1"), "option small is \"+1\""),
            ("small", Value::from(1.5), "option small is 1.5"),
            ("medium", Value::from("1e3"), "a whole number from 0 to 4294967295"),
            ("large", Value::from("18446744073709551616"), "a whole number from 0 on"),
            ("factor", Value::from("inf"), "write a number such as 0.8"),
            ("timeout", Value::from("5s"), no_finite),
            ("timeout", Value::from(-1), no_finite),
            ("timeout", Value::from("nan"), no_finite),
            ("timeout", Value::from(f64::INFINITY), no_finite),
            ("timeout", Value::from("1e300"), no_finite),
            ("database", Value::from(true), "option database is true; write a text"),
            ("folder", Value::from(""), "write a path"),
            ("queues", Value::from("[1]"), "write a table, as text a JSON object"),
            ("extra", Value::from("a,b"), "write a list, as text a JSON array"),
            ("steps", Value::from("0,x"), "whole numbers from 0 on, divided by commas"),
            ("names", Value::from(1), "texts, divided by commas"),
            ("method", Value::from("plain"), "write PLAIN, EXTERNAL"),
        ] {
            let error = typed(Options::new().with(name, value)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            let shown = error.to_string();
            assert!(shown.contains(says), "{name}: {shown}");
            assert!(shown.ends_with("(transport=test)"), "{shown}");
        }
    }

    #[test]
    fn unknown_options_are_named_with_the_known_ones() {
        let error = typed(Options::new().with("tmieout", 1)).unwrap_err().to_string();
        assert!(error.contains("unknown option \"tmieout\"; did you mean \"timeout\"?"), "{error}");
        assert!(error.contains("test has: confirm, database, extra"), "{error}");
        let error = typed(Options::new().with("heartbeet", 1)).unwrap_err().to_string();
        assert!(error.contains("did you mean \"heartbeat\"?"), "{error}");
        let error = OptionReader::new("etcd", Options::new().with("x", 1)).finish().unwrap_err();
        assert!(error.to_string().contains("unknown option \"x\"; etcd has: none"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = Options::new()
            .with("token", "hunter2")
            .with("plain", "hunter2")
            .with("proxy", "http://u:hunter2@h")
            .with("queues", Table::new().with("secret_access_key", "hunter2"));
        let shown = format!("{options:?}");
        assert_eq!(shown.matches("hunter2").count(), 1, "{shown}");
        let wrong = Options::new().with("token", vec![Value::from("hunter2")]);
        let error = format!("{:?}", typed(wrong).unwrap_err());
        assert!(error.contains("option token is **") && !error.contains("hunter2"), "{error}");
    }
}
