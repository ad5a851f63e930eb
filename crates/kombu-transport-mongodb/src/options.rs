//! The options of this transport.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result, Value};
use kombu_virtual::VirtualOptions;

/// How queues are kept in MongoDB, beside what the core and the layer over stores read themselves.
///
/// Programs that share queues must agree on the collections.
///
/// | option | sets | default |
/// |---|---|---|
/// | `default_database` | the database of a URL without one | `kombu_default` |
/// | `default_hostname`, `default_port` | the server of a URL without one | `127.0.0.1`, 27017 |
/// | `messages_collection` | the collection of messages | `messages` |
/// | `routing_collection` | the collection of bindings | `messages.routing` |
/// | `broadcast_collection` | the capped collection of what is published to fanout exchanges | `messages.broadcast` |
/// | `queues_collection` | the collection of queues and their arguments | `messages.queues` |
/// | `capped_queue_size` | bytes of the capped collection, when it is made | 100000 |
/// | `ttl` | whether the server deletes what has expired, by indexes | false |
/// | `calc_queue_size` | whether queues are counted; if not, their size is 0 | true |
/// | `visibility_timeout` | seconds after which a message that nobody renews goes back | 60 |
///
/// The options of MongoDB's own URLs, such as `replicaSet`, `authSource`, `tls`, `tlsCAFile`, `w`
/// and `readPreference`, are handed to the driver. Their case does not matter.
///
/// # Kombu
///
/// The keys of `transport_options` with the same names and defaults, but for
/// `visibility_timeout`: Kombu removes what it takes. Here messages and queues expire without
/// `ttl`, too, as far as their readers are of this crate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MongodbOptions {
    /// The database of a URL without one.
    pub default_database: String,
    /// The host of a URL without one.
    pub default_hostname: String,
    /// The port of a URL without one.
    pub default_port: u16,
    /// The collection of messages.
    pub messages_collection: String,
    /// The collection of bindings.
    pub routing_collection: String,
    /// The capped collection of what is published to fanout exchanges.
    pub broadcast_collection: String,
    /// The collection of queues.
    pub queues_collection: String,
    /// The bytes of the capped collection.
    pub capped_queue_size: u64,
    /// Whether the server deletes what has expired.
    pub ttl: bool,
    /// Whether queues are counted.
    pub calc_queue_size: bool,
    /// The time after which a message that nobody renews goes back.
    pub visibility_timeout: Duration,
    /// What the driver reads, by name in lower case.
    pub driver: Vec<(String, String)>,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

impl MongodbOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(mut options: Options) -> Result<Self> {
        let driver = take_driver_options(&mut options)?;
        let mut reader = OptionReader::new("mongodb", options);
        let mut read =
            Self { layer: VirtualOptions::read(&mut reader)?, driver, ..Self::default() };
        for (name, field) in [
            ("default_database", &mut read.default_database),
            ("default_hostname", &mut read.default_hostname),
            ("messages_collection", &mut read.messages_collection),
            ("routing_collection", &mut read.routing_collection),
            ("broadcast_collection", &mut read.broadcast_collection),
            ("queues_collection", &mut read.queues_collection),
        ] {
            if let Some(text) = reader.text(name)? {
                if text.is_empty() {
                    return Err(wrong(format!("option {name} is empty; write a name")));
                }
                *field = text;
            }
        }
        if let Some(port) = reader.u16("default_port")? {
            read.default_port = port;
        }
        if let Some(size) = reader.u64("capped_queue_size")? {
            read.capped_queue_size = size;
        }
        if let Some(ttl) = reader.bool("ttl")? {
            read.ttl = ttl;
        }
        if let Some(calculate) = reader.bool("calc_queue_size")? {
            read.calc_queue_size = calculate;
        }
        if let Some(time) = reader.duration("visibility_timeout")? {
            if time < Duration::from_millis(100) {
                return Err(wrong("option visibility_timeout is too short; write 0.1 or more"));
            }
            read.visibility_timeout = time;
        }
        reader.finish()?;
        Ok(read)
    }

    /// The time between two looks for what was abandoned or has expired.
    pub(crate) fn look_interval(&self) -> Duration {
        (self.visibility_timeout / 10).clamp(Duration::from_secs(1), Duration::from_secs(10))
    }
}

impl Default for MongodbOptions {
    fn default() -> Self {
        Self {
            default_database: "kombu_default".to_owned(),
            default_hostname: "127.0.0.1".to_owned(),
            default_port: 27_017,
            messages_collection: "messages".to_owned(),
            routing_collection: "messages.routing".to_owned(),
            broadcast_collection: "messages.broadcast".to_owned(),
            queues_collection: "messages.queues".to_owned(),
            capped_queue_size: 100_000,
            ttl: false,
            calc_queue_size: true,
            visibility_timeout: Duration::from_secs(60),
            driver: Vec::new(),
            layer: VirtualOptions::default(),
        }
    }
}

/// Takes out what the driver reads.
fn take_driver_options(options: &mut Options) -> Result<Vec<(String, String)>> {
    let (own, rest): (Vec<_>, Vec<_>) = std::mem::take(options)
        .into_iter()
        .partition(|(name, _)| DRIVER_OPTIONS.contains(&name.to_lowercase().as_str()));
    *options = rest.into_iter().collect();
    own.into_iter()
        .map(|(name, value)| {
            let text = match value {
                Value::Text(text) => text,
                Value::Bool(truth) => truth.to_string(),
                Value::Int(number) => number.to_string(),
                Value::UInt(number) => number.to_string(),
                _ => {
                    return Err(wrong(format!(
                        "option {name} is to be a text, a number or a truth value"
                    )));
                }
            };
            Ok((name.to_lowercase(), text))
        })
        .collect()
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// The options of MongoDB's URLs that the driver knows. `ssl` is the core's.
const DRIVER_OPTIONS: &[&str] = &[
    "appname",
    "authmechanism",
    "authmechanismproperties",
    "authsource",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "loadbalanced",
    "localthresholdms",
    "maxconnecting",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "servermonitoringmode",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "srvmaxhosts",
    "srvservicename",
    "tls",
    "tlsallowinvalidcertificates",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlsinsecure",
    "uuidrepresentation",
    "w",
    "waitqueuetimeoutms",
    "wtimeoutms",
];

#[cfg(test)]
mod tests {
    use kombu_core::BrokerUrl;

    use super::*;

    #[test]
    fn query_and_map_give_the_same() {
        let url = BrokerUrl::parse(
            "mongodb://h/db?default_database=d&messages_collection=m&routing_collection=r\
             &broadcast_collection=b&queues_collection=q&capped_queue_size=5000&ttl=1\
             &calc_queue_size=false&visibility_timeout=2.5&replicaSet=rs0&retryWrites=true&w=2",
        )
        .unwrap();
        let from_query = MongodbOptions::from_options(Options::from_query(&url)).unwrap();
        let map = Options::new()
            .with("default_database", "d")
            .with("messages_collection", "m")
            .with("routing_collection", "r")
            .with("broadcast_collection", "b")
            .with("queues_collection", "q")
            .with("capped_queue_size", 5000)
            .with("ttl", true)
            .with("calc_queue_size", false)
            .with("visibility_timeout", 2.5)
            .with("replicaSet", "rs0")
            .with("retryWrites", true)
            .with("w", 2);
        let from_map = MongodbOptions::from_options(map).unwrap();
        let set = MongodbOptions {
            default_database: "d".to_owned(),
            messages_collection: "m".to_owned(),
            routing_collection: "r".to_owned(),
            broadcast_collection: "b".to_owned(),
            queues_collection: "q".to_owned(),
            capped_queue_size: 5000,
            ttl: true,
            calc_queue_size: false,
            visibility_timeout: Duration::from_millis(2500),
            driver: from_query.driver.clone(),
            ..MongodbOptions::default()
        };
        assert_eq!(from_query, set);
        let sorted = |options: &MongodbOptions| {
            let mut driver = options.driver.clone();
            driver.sort();
            driver
        };
        let driver = [("replicaset", "rs0"), ("retrywrites", "true"), ("w", "2")];
        let driver = driver.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(sorted(&from_query), driver);
        assert_eq!(sorted(&from_map), driver);
    }

    #[test]
    fn wrong_values_and_unknown_options_are_refused() {
        for (name, value, says) in [
            ("visibility_timeout", "0", "0.1 or more"),
            ("messages_collection", "", "write a name"),
            ("ttl", "perhaps", "write true or false"),
            ("capped_size", "1", "capped_queue_size"),
        ] {
            let options = Options::new().with(name, value);
            let error = MongodbOptions::from_options(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
