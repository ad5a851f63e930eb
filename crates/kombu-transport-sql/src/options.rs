//! The transport's options.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result};
use kombu_virtual::VirtualOptions;

use crate::names::Names;

/// The options of [`SqlTransport`](crate::SqlTransport), beside those of every transport.
///
/// ```
/// use kombu_core::Options;
/// use kombu_transport_sql::SqlOptions;
/// let options = Options::new().with("queue_tablename", "jobs_queue").with("keep_acked", true);
/// let options = SqlOptions::from_options(options)?;
/// assert_eq!(options.queue_tablename, "jobs_queue");
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Kombu
///
/// `queue_tablename` and `message_tablename` are its own; what else it is given there goes to
/// SQLAlchemy's engine, which is not here.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SqlOptions {
    /// The table of queues. Default: `kombu_queue`.
    pub queue_tablename: String,
    /// The table of messages. Default: `kombu_message`.
    pub message_tablename: String,
    /// After which time without a sign of life a connection's messages go back to their queues.
    /// Default: 60 s, at least 1 s.
    pub visibility_timeout: Duration,
    /// Whether settled messages stay in the table, invisible, as Kombu leaves them. Default: they
    /// are deleted.
    pub keep_acked: bool,
    /// After which time messages that anyone left behind settled are deleted. Default: never.
    pub clean_after: Option<Duration>,
    /// For how long a SQLite file that others write to is tried again. Default: 30 s.
    pub busy_timeout: Duration,
    /// Whether SQLite waits for the disk at each commit, so that what is confirmed survives a power
    /// cut, or only at checkpoints. Default: at each commit.
    pub synchronous: Synchronous,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

/// When SQLite waits for the disk.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the two that keep the file whole")]
pub enum Synchronous {
    /// `full`: at each commit.
    #[default]
    Full,
    /// `normal`: at checkpoints. A power cut may take the last commits back; a crash of the
    /// program does not.
    Normal,
}

impl SqlOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("sql", options);
        let mut read = Self { layer: VirtualOptions::read(&mut reader)?, ..Self::default() };
        for (name, field) in [
            ("queue_tablename", &mut read.queue_tablename),
            ("message_tablename", &mut read.message_tablename),
        ] {
            if let Some(text) = reader.text(name)? {
                *field = text;
            }
        }
        if let Some(time) = reader.duration("visibility_timeout")? {
            if time < Duration::from_secs(1) {
                return Err(wrong("option visibility_timeout is too short; write 1 or more"));
            }
            read.visibility_timeout = time;
        }
        if let Some(keep) = reader.bool("keep_acked")? {
            read.keep_acked = keep;
        }
        read.clean_after = reader.duration("clean_after")?;
        if let Some(time) = reader.duration("busy_timeout")? {
            read.busy_timeout = time;
        }
        if reader.one_of("synchronous", &["full", "normal"])? == Some("normal") {
            read.synchronous = Synchronous::Normal;
        }
        // SQLAlchemy's URLs often say it; the drivers here speak nothing else.
        reader.one_of("charset", &["utf8mb4", "utf8"])?;
        reader.finish()?;
        read.names()?;
        Ok(read)
    }

    pub(crate) fn names(&self) -> Result<Names> {
        Names::new(&self.queue_tablename, &self.message_tablename)
    }
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            queue_tablename: "kombu_queue".to_owned(),
            message_tablename: "kombu_message".to_owned(),
            visibility_timeout: Duration::from_secs(60),
            keep_acked: false,
            clean_after: None,
            busy_timeout: Duration::from_secs(30),
            synchronous: Synchronous::Full,
            layer: VirtualOptions::default(),
        }
    }
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use kombu_core::BrokerUrl;

    use super::*;

    #[test]
    fn query_and_map_give_the_same() {
        let url = BrokerUrl::parse(
            "sqla+sqlite:///f.db?queue_tablename=q&message_tablename=m&visibility_timeout=2.5\
             &keep_acked=1&clean_after=60&busy_timeout=3&synchronous=normal&charset=utf8mb4",
        )
        .unwrap();
        let from_query = SqlOptions::from_options(Options::from_query(&url)).unwrap();
        let map = Options::new()
            .with("queue_tablename", "q")
            .with("message_tablename", "m")
            .with("visibility_timeout", 2.5)
            .with("keep_acked", true)
            .with("clean_after", 60)
            .with("busy_timeout", 3)
            .with("synchronous", "normal");
        let set = SqlOptions {
            queue_tablename: "q".to_owned(),
            message_tablename: "m".to_owned(),
            visibility_timeout: Duration::from_millis(2500),
            keep_acked: true,
            clean_after: Some(Duration::from_secs(60)),
            busy_timeout: Duration::from_secs(3),
            synchronous: Synchronous::Normal,
            ..SqlOptions::default()
        };
        assert_eq!(from_query, set);
        assert_eq!(SqlOptions::from_options(map).unwrap(), set);
    }

    #[test]
    fn wrong_values_and_unknown_options_are_refused() {
        for (name, value, says) in [
            ("visibility_timeout", "0.5", "write 1 or more"),
            ("synchronous", "off", "write full, normal"),
            ("queue_tablename", "a;b", "letters, digits and underscores"),
            ("charset", "latin1", "write utf8mb4, utf8"),
            ("queue_table_name", "q", "did you mean \"queue_tablename\"?"),
        ] {
            let options = Options::new().with(name, value);
            let error = SqlOptions::from_options(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
