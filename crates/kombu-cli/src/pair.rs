//! Arguments of the form `NAME=VALUE`, whose value is JSON when it parses.

use kombu::codec::Codec as _;
use kombu::{Json, Value};
use serde::de::IgnoredAny;

/// A name with a value. It has no `Debug`: the value may be a secret.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: Value,
}

/// Reads `NAME=VALUE`. What is not JSON is a text, so that `trace=abc` needs no quotes.
pub(crate) fn pair(text: &str) -> Result<Pair, String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("write NAME=VALUE".to_owned());
    };
    if name.is_empty() {
        return Err("the name before \"=\" is empty".to_owned());
    }
    let is_json = serde_json::from_str::<IgnoredAny>(value).is_ok();
    let value = if is_json {
        Json.decode_value(value.as_bytes(), "utf-8").map_err(|error| error.to_string())?
    } else {
        Value::from(value)
    };
    Ok(Pair { name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use kombu::{Table, Tag};

    use super::*;

    #[test]
    fn values_are_json_when_they_parse() {
        for (text, expected) in [
            ("n=5", Value::Int(5)),
            ("n=5000000000", Value::Int(5_000_000_000)),
            ("n=0.5", Value::Float(0.5)),
            ("n=true", Value::Bool(true)),
            ("n=null", Value::Null),
            ("n=\"5\"", Value::from("5")),
            ("n=abc", Value::from("abc")),
            ("n=NaN", Value::from("NaN")),
            ("n=", Value::from("")),
            ("n=a=b", Value::from("a=b")),
            ("n={\"a\": [1]}", Table::new().with("a", vec![Value::Int(1)]).into()),
            ("n={\"a\": ", Value::from("{\"a\": ")),
            (
                "n={\"__type__\": \"date\", \"__value__\": \"2020-01-02\"}",
                Value::Tagged(Tag::Date, "2020-01-02".to_owned()),
            ),
        ] {
            let pair = pair(text).expect(text);
            assert_eq!((pair.name.as_str(), pair.value), ("n", expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["n", "", "=5", "n={\"__type__\": \"nothing\", \"__value__\": 1}"] {
            assert!(pair(text).is_err(), "{text}");
        }
    }
}
