//! The options of this transport.

use std::time::Duration;

use kombu_core::options::{ConnectionOptions, TlsChoice};
use kombu_core::{Error, ErrorKind, OptionReader, Options, Result, Secret, TlsOptions, Value};
use kombu_virtual::VirtualOptions;

use crate::socket_options::SocketOptions;

/// How queues are kept in Redis, beside what the core and the layer over stores read themselves.
///
/// Programs that share queues must agree on those that name keys and channels, on the steps and on
/// the visibility timeout.
///
/// | option | sets | default |
/// |---|---|---|
/// | `global_keyprefix` | what stands before every key and channel | nothing |
/// | `sep` | what divides the parts of keys and bindings | the bytes 06 16 |
/// | `priority_steps` | the priorities that have a list of their own, the first of them 0 | 0, 3, 6, 9 |
/// | `visibility_timeout` | seconds after which a message that nobody renews goes back | 3600 |
/// | `unacked_key`, `unacked_index_key`, `unacked_mutex_key` | the keys of unacked messages | `unacked`, `unacked_index`, `unacked_mutex` |
/// | `unacked_mutex_expire` | seconds that the mutex lives at most | 300 |
/// | `fanout_prefix` | what stands before an exchange in its channel; true for `/<database>.`, false for nothing | true |
/// | `fanout_patterns` | whether the routing key is part of the channel | true |
/// | `unacked_restore_interval`, `unacked_restore_throttle` | their product: seconds between two looks for abandoned messages | a tenth of the visibility timeout, from 1 to 100 |
/// | `unacked_restore_limit` | the most messages that one look gives back | no limit |
/// | `virtual_host` | the number of the database, for `redis+socket://` | 0 |
/// | `master_name` | what the sentinels call the servers, for `sentinel://` | none |
/// | `min_other_sentinels` | how many others a sentinel must know to be believed | 0 |
/// | `sentinel_kwargs` | a table: `username` and `password` for the sentinels, and `ssl`, `ssl_…` for TLS to them | neither |
///
/// Options for the client's sockets are those of [`SocketOptions`].
///
/// # Kombu
///
/// The keys of `transport_options` with the same names and defaults. Only the time between two
/// looks differs: Kombu looks every 100 seconds whatever the visibility timeout.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// What stands before every key and channel.
    pub global_keyprefix: String,
    /// What divides the parts of keys and bindings.
    pub sep: String,
    /// The priorities that have a list of their own, rising from 0.
    pub priority_steps: Vec<u8>,
    /// The time after which a message that nobody renews goes back.
    pub visibility_timeout: Duration,
    /// The hash of unacked messages.
    pub unacked_key: String,
    /// The sorted set of the times at which they were taken.
    pub unacked_index_key: String,
    /// The mutex of those who look for abandoned messages.
    pub unacked_mutex_key: String,
    /// How long that mutex lives at most.
    pub unacked_mutex_expire: Duration,
    /// What stands before an exchange in the name of its channel; none for `/<database>.`.
    pub fanout_prefix: Option<String>,
    /// Whether the routing key is part of a channel's name.
    pub fanout_patterns: bool,
    /// The time between two looks for abandoned messages.
    pub restore_interval: Option<Duration>,
    /// The most messages that one look gives back.
    pub restore_limit: Option<u64>,
    /// The number of the database, where the URL has no room for it.
    pub virtual_host: Option<u8>,
    /// How to ask sentinels.
    pub sentinel: SentinelOptions,
    /// What the socket is to be like.
    pub socket: SocketOptions,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

/// How to ask sentinels for the server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SentinelOptions {
    /// What they call the servers.
    pub master_name: Option<String>,
    /// How many others a sentinel must know to be believed.
    pub min_other_sentinels: u32,
    /// The user at the sentinels.
    pub username: Option<String>,
    /// The password at the sentinels.
    pub password: Option<Secret>,
    /// TLS to the sentinels, if any.
    pub tls: Option<TlsOptions>,
}

impl RedisOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(mut options: Options) -> Result<Self> {
        if let Some(Value::Bool(given)) = options.get("fanout_prefix") {
            let text = if *given { "true" } else { "false" };
            options.insert("fanout_prefix", text);
        }
        let mut reader = OptionReader::new("redis", options);
        let mut read = Self { layer: VirtualOptions::read(&mut reader)?, ..Self::default() };
        for (name, field) in [
            ("global_keyprefix", &mut read.global_keyprefix),
            ("sep", &mut read.sep),
            ("unacked_key", &mut read.unacked_key),
            ("unacked_index_key", &mut read.unacked_index_key),
            ("unacked_mutex_key", &mut read.unacked_mutex_key),
        ] {
            if let Some(text) = reader.text(name)? {
                *field = text;
            }
        }
        if read.sep.is_empty() {
            return Err(wrong("option sep is empty; write what divides the parts of a key"));
        }
        if let Some(steps) = reader.number_list("priority_steps")? {
            read.priority_steps = priority_steps(&steps)?;
        }
        if let Some(time) = reader.duration("visibility_timeout")? {
            if time < Duration::from_millis(100) {
                return Err(wrong("option visibility_timeout is too short; write 0.1 or more"));
            }
            read.visibility_timeout = time;
        }
        if let Some(time) = reader.duration("unacked_mutex_expire")? {
            read.unacked_mutex_expire = time;
        }
        read.fanout_prefix = match reader.text("fanout_prefix")?.as_deref() {
            None | Some("true" | "True" | "1") => None,
            Some("false" | "False" | "0") => Some(String::new()),
            Some(own) => Some(own.to_owned()),
        };
        if let Some(patterns) = reader.bool("fanout_patterns")? {
            read.fanout_patterns = patterns;
        }
        let interval = reader.duration("unacked_restore_interval")?;
        let throttle = reader.u32("unacked_restore_throttle")?;
        if interval.is_some() || throttle.is_some() {
            let interval = interval.filter(|time| !time.is_zero());
            let interval = interval.unwrap_or(Duration::from_secs(10));
            read.restore_interval = Some(interval * throttle.unwrap_or(10).max(1));
        }
        read.restore_limit = reader.u64("unacked_restore_limit")?;
        if let Some(database) = reader.u16("virtual_host")? {
            read.virtual_host = Some(u8::try_from(database).map_err(|_| {
                wrong("option virtual_host is to be the number of a database, from 0 to 255")
            })?);
        }
        read.sentinel = SentinelOptions::read(&mut reader)?;
        read.socket = SocketOptions::read(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    /// The time between two looks for abandoned messages.
    pub(crate) fn look_interval(&self) -> Duration {
        self.restore_interval.unwrap_or_else(|| {
            (self.visibility_timeout / 10).clamp(Duration::from_secs(1), Duration::from_secs(100))
        })
    }
}

impl SentinelOptions {
    fn read(reader: &mut OptionReader) -> Result<Self> {
        let mut read = Self {
            master_name: reader.text("master_name")?,
            min_other_sentinels: reader.u32("min_other_sentinels")?.unwrap_or(0),
            ..Self::default()
        };
        let mut own: Options = reader.table("sentinel_kwargs")?.into_iter().flatten().collect();
        let tls = ConnectionOptions::take(&mut own)?.tls;
        if let TlsChoice::On(tls) = tls {
            read.tls = Some(tls);
        }
        let mut reader = OptionReader::new("sentinel_kwargs", own);
        read.username = reader.text("username")?;
        read.password = reader.secret("password")?;
        reader.finish()?;
        Ok(read)
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            global_keyprefix: String::new(),
            sep: "\x06\x16".to_owned(),
            priority_steps: vec![0, 3, 6, 9],
            visibility_timeout: Duration::from_secs(3600),
            unacked_key: "unacked".to_owned(),
            unacked_index_key: "unacked_index".to_owned(),
            unacked_mutex_key: "unacked_mutex".to_owned(),
            unacked_mutex_expire: Duration::from_secs(300),
            fanout_prefix: None,
            fanout_patterns: true,
            restore_interval: None,
            restore_limit: None,
            virtual_host: None,
            sentinel: SentinelOptions::default(),
            socket: SocketOptions::default(),
            layer: VirtualOptions::default(),
        }
    }
}

fn priority_steps(given: &[u64]) -> Result<Vec<u8>> {
    let mut steps: Vec<u8> = given.iter().filter_map(|step| u8::try_from(*step).ok()).collect();
    steps.sort_unstable();
    steps.dedup();
    if steps.len() == given.len()
        && steps.first() == Some(&0)
        && steps.iter().all(|step| *step <= 9)
    {
        return Ok(steps);
    }
    Err(wrong("option priority_steps is to be numbers from 0 to 9, each once, with 0 among them"))
}

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
            "redis://h?global_keyprefix=p&sep=:&priority_steps=0,5&visibility_timeout=2.5\
             &unacked_key=u&fanout_prefix=false&fanout_patterns=0&unacked_restore_interval=2\
             &unacked_restore_limit=7&virtual_host=4&master_name=m\
             &sentinel_kwargs={\"password\":\"pw\",\"ssl\":true}",
        )
        .unwrap();
        let from_query = RedisOptions::from_options(Options::from_query(&url)).unwrap();
        let map = Options::new()
            .with("global_keyprefix", "p")
            .with("sep", ":")
            .with("priority_steps", vec![Value::from(0), Value::from(5)])
            .with("visibility_timeout", 2.5)
            .with("unacked_key", "u")
            .with("fanout_prefix", false)
            .with("fanout_patterns", false)
            .with("unacked_restore_interval", 2)
            .with("unacked_restore_limit", 7)
            .with("virtual_host", 4)
            .with("master_name", "m")
            .with("sentinel_kwargs", Table::new().with("password", "pw").with("ssl", true));
        let from_map = RedisOptions::from_options(map).unwrap();
        let set = RedisOptions {
            global_keyprefix: "p".to_owned(),
            sep: ":".to_owned(),
            priority_steps: vec![0, 5],
            visibility_timeout: Duration::from_millis(2500),
            unacked_key: "u".to_owned(),
            fanout_prefix: Some(String::new()),
            fanout_patterns: false,
            restore_interval: Some(Duration::from_secs(20)),
            restore_limit: Some(7),
            virtual_host: Some(4),
            sentinel: SentinelOptions {
                master_name: Some("m".to_owned()),
                password: Some(Secret::new("pw")),
                tls: Some(TlsOptions::new()),
                ..SentinelOptions::default()
            },
            ..RedisOptions::default()
        };
        assert_eq!(from_query, set);
        assert_eq!(from_map, set);
    }

    #[test]
    fn looks_are_in_proportion_to_the_timeout() {
        let with = |seconds| RedisOptions {
            visibility_timeout: Duration::from_secs(seconds),
            ..RedisOptions::default()
        };
        assert_eq!(with(2).look_interval(), Duration::from_secs(1));
        assert_eq!(with(60).look_interval(), Duration::from_secs(6));
        assert_eq!(with(3600).look_interval(), Duration::from_secs(100));
    }

    #[test]
    fn wrong_values_and_unknown_options_are_refused() {
        for (name, value, says) in [
            ("priority_steps", "1,2", "with 0 among them"),
            ("priority_steps", "0,12", "from 0 to 9"),
            ("visibility_timeout", "0", "0.1 or more"),
            ("sep", "", "sep is empty"),
            ("visibility_timout", "1", "visibility_timeout"),
        ] {
            let options = Options::new().with(name, value);
            let error = RedisOptions::from_options(options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
