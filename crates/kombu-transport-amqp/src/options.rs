//! The options of this transport.

use std::collections::BTreeMap;

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result};

/// How a connection to an AMQP broker is made and used, beside what the core reads itself
/// (timeouts, heartbeat, TLS).
///
/// | option | sets | default |
/// |---|---|---|
/// | `login_method` | [`login_method`](Self::login_method) | `PLAIN` |
/// | `confirm_publish` | [`confirm_publish`](Self::confirm_publish) | true |
/// | `publish_window` | [`publish_window`](Self::publish_window) | 8192 |
/// | `driver` | [`driver`](Self::driver) | `auto` |
/// | `channel_max` | [`channel_max`](Self::channel_max) | the broker's |
/// | `frame_max` | [`frame_max`](Self::frame_max) | the broker's |
/// | `client_properties` | [`client_properties`](Self::client_properties) | none |
///
/// # Kombu
///
/// Keys of `transport_options` with the same names, and `login_method` of the connection.
/// `confirm_publish` is false there. The keys for sockets (`socket_settings`, `read_timeout`,
/// `write_timeout`) do not exist: the heartbeat finds a dead link.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct AmqpOptions {
    /// How to log in.
    pub login_method: LoginMethod,
    /// Whether a publish waits until the broker has taken responsibility for the message.
    /// Without it a lost link loses messages silently. Mandatory publishes always wait.
    pub confirm_publish: bool,
    /// The most publishes in flight per channel; further ones wait.
    pub publish_window: usize,
    /// Which client crate publishes.
    pub driver: Driver,
    /// The most channels per connection. The broker's limit counts if it is lower.
    pub channel_max: Option<u16>,
    /// The largest frame in bytes. The broker's limit counts if it is lower.
    pub frame_max: Option<u32>,
    /// What the connection tells the broker about itself, beside its name.
    pub client_properties: BTreeMap<String, String>,
}

impl AmqpOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("amqp", options);
        let mut read = Self::default();
        if let Some(name) = reader.one_of("login_method", &["PLAIN", "AMQPLAIN", "EXTERNAL"])? {
            read.login_method = match name {
                "AMQPLAIN" => LoginMethod::AmqPlain,
                "EXTERNAL" => LoginMethod::External,
                _ => LoginMethod::Plain,
            };
        }
        if let Some(confirm) = reader.bool("confirm_publish")? {
            read.confirm_publish = confirm;
        }
        if let Some(window) = reader.u32("publish_window")? {
            read.publish_window =
                usize::try_from(window).ok().filter(|window| *window > 0).ok_or_else(|| {
                    wrong("option publish_window is 0; write the most publishes in flight")
                })?;
        }
        if let Some(name) = reader.one_of("driver", &["auto", "lapin"])? {
            read.driver = if name == "lapin" { Driver::Lapin } else { Driver::Auto };
        }
        read.channel_max = reader.u16("channel_max")?.filter(|max| *max > 0);
        read.frame_max = reader.u32("frame_max")?.filter(|max| *max > 0);
        if read.frame_max.is_some_and(|max| max < FRAME_MIN) {
            return Err(wrong("option frame_max is less than 4096, the least that AMQP allows"));
        }
        for (name, value) in reader.table("client_properties")?.into_iter().flatten() {
            crate::names::check("client property", &name)?;
            let text = value.as_str().ok_or_else(|| {
                wrong("option client_properties has a value that is no text; write texts")
                    .with("name", &name)
            })?;
            read.client_properties.insert(name, text.to_owned());
        }
        reader.finish()?;
        Ok(read)
    }
}

impl Default for AmqpOptions {
    fn default() -> Self {
        Self {
            login_method: LoginMethod::default(),
            confirm_publish: true,
            publish_window: 8192,
            driver: Driver::default(),
            channel_max: None,
            frame_max: None,
            client_properties: BTreeMap::new(),
        }
    }
}

/// How to log in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum LoginMethod {
    /// User name and password as a table, RabbitMQ's older form (`AMQPLAIN`).
    AmqPlain,
    /// By the certificate that TLS showed (`EXTERNAL`).
    External,
    /// User name and password (`PLAIN`).
    #[default]
    Plain,
}

/// Which client crate publishes. Everything else is lapin's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Driver {
    /// amqprs, unless an option needs what it cannot do.
    #[default]
    Auto,
    /// lapin.
    Lapin,
}

/// The least value of `frame_max` (AMQP 0-9-1, `frame-min-size`).
const FRAME_MIN: u32 = 4096;

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Table};

    use super::*;

    #[test]
    fn query_and_map_give_the_same() {
        let url = BrokerUrl::parse(
            "amqp://h?login_method=AMQPLAIN&confirm_publish=false&publish_window=10&driver=lapin\
             &channel_max=7&frame_max=8192&client_properties={\"team\":\"media\"}",
        )
        .unwrap();
        let from_query = AmqpOptions::from_options(Options::from_query(&url)).unwrap();
        let map = Options::new()
            .with("login_method", "AMQPLAIN")
            .with("confirm_publish", false)
            .with("publish_window", 10)
            .with("driver", "lapin")
            .with("channel_max", 7)
            .with("frame_max", 8192)
            .with("client_properties", Table::new().with("team", "media"));
        let from_map = AmqpOptions::from_options(map).unwrap();
        let mut set = AmqpOptions {
            login_method: LoginMethod::AmqPlain,
            confirm_publish: false,
            publish_window: 10,
            driver: Driver::Lapin,
            channel_max: Some(7),
            frame_max: Some(8192),
            ..AmqpOptions::default()
        };
        set.client_properties.insert("team".to_owned(), "media".to_owned());
        assert_eq!(from_query, set);
        assert_eq!(from_map, set);
    }

    #[test]
    fn unknown_options_and_wrong_values_are_refused() {
        for (name, value, says) in [
            ("confirm", "1", "confirm_publish"),
            ("login_method", "GSSAPI", "PLAIN, AMQPLAIN"),
            ("publish_window", "0", "publish_window is 0"),
            ("frame_max", "100", "less than 4096"),
            ("driver", "amqp", "auto"),
        ] {
            let options = Options::new().with(name, value);
            let error = AmqpOptions::from_options(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
