//! How long messages live.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, Properties, Queue, Result, Table, Value};

/// How long a message may wait, from its `expiration`.
///
/// # Errors
///
/// `InvalidArgument` unless it is a whole number of milliseconds.
pub fn of_message(properties: &Properties) -> Result<Option<Duration>> {
    let Some(text) = &properties.expiration else { return Ok(None) };
    let millis = text.parse().map_err(|_| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("expiration {text:?} is not a whole number of milliseconds"),
        )
    })?;
    Ok(Some(Duration::from_millis(millis)))
}

/// How long messages may wait in a queue, from its argument `x-message-ttl`.
#[must_use]
pub fn of_queue_messages(queue: &Queue) -> Option<Duration> {
    millis(queue.arguments(), "x-message-ttl")
}

/// How long a queue lives unused, from its argument `x-expires`.
#[must_use]
pub fn of_queue(queue: &Queue) -> Option<Duration> {
    millis(queue.arguments(), "x-expires")
}

fn millis(arguments: &Table, name: &str) -> Option<Duration> {
    let millis = arguments.get(name).and_then(Value::as_i64)?;
    u64::try_from(millis).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiration_is_whole_milliseconds() {
        let mut properties = Properties::new();
        assert_eq!(of_message(&properties).unwrap(), None);
        properties.expiration = Some("1500".into());
        assert_eq!(of_message(&properties).unwrap(), Some(Duration::from_millis(1500)));
        for wrong in ["", "1.5", "-1", "soon"] {
            properties.expiration = Some(wrong.into());
            let error = of_message(&properties).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
    }
}
