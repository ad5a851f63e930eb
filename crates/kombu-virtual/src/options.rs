//! Options that all transports over this layer have.

use std::time::Duration;

use kombu_core::{OptionReader, Result};

use crate::envelope::BodyEncoding;

/// Options of the layer, under Kombu's names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct VirtualOptions {
    /// `deadletter_queue`: the queue for messages that no other queue takes; it is made when it is
    /// needed. Default: none, such messages are dropped.
    ///
    /// # Kombu
    ///
    /// There, messages for topic exchanges do not reach it.
    pub deadletter_queue: Option<String>,
    /// `body_encoding`: how bodies are written in the envelope. `base64`, or `utf-8` for texts as
    /// they are. Default: `base64`.
    pub body_encoding: BodyEncoding,
    /// `polling_interval`: the pause in seconds after a claim that found nothing, in place of the
    /// store's own.
    pub polling_interval: Option<Duration>,
}

impl VirtualOptions {
    /// The names of the options.
    pub const NAMES: [&'static str; 3] = ["body_encoding", "deadletter_queue", "polling_interval"];

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads them; the transport reads its own with the same reader and then ends the reading.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a value that does not fit.
    pub fn read(reader: &mut OptionReader) -> Result<Self> {
        let body_encoding = match reader.one_of("body_encoding", &["base64", "utf-8"])? {
            Some("utf-8") => BodyEncoding::Text,
            _ => BodyEncoding::Base64,
        };
        Ok(Self {
            deadletter_queue: reader.text("deadletter_queue")?.filter(|name| !name.is_empty()),
            body_encoding,
            polling_interval: reader.duration("polling_interval")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use kombu_core::Options;

    use super::*;

    #[test]
    fn options_have_the_names_of_kombu() {
        let options = Options::new()
            .with("deadletter_queue", "dead")
            .with("body_encoding", "utf-8")
            .with("polling_interval", "0.5");
        let mut reader = OptionReader::new("test", options);
        let read = VirtualOptions::read(&mut reader).unwrap();
        reader.finish().unwrap();
        assert_eq!(read.deadletter_queue.as_deref(), Some("dead"));
        assert_eq!(read.body_encoding, BodyEncoding::Text);
        assert_eq!(read.polling_interval, Some(Duration::from_millis(500)));
    }

    #[test]
    fn a_wrong_body_encoding_is_refused() {
        let mut reader = OptionReader::new("test", Options::new().with("body_encoding", "hex"));
        assert!(VirtualOptions::read(&mut reader).is_err());
    }
}
