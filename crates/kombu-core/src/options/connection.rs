//! The options that mean the same for every transport.

use std::time::Duration;

use super::{OptionReader, Options};
use crate::error::{Error, ErrorKind, Result};
use crate::failover::FailoverStrategy;
use crate::retry::RetryPolicy;
use crate::tls::{self, TlsOptions};
use crate::url::BrokerUrl;

/// What a connection needs to know, whatever the transport.
///
/// | option | sets | default |
/// |---|---|---|
/// | `connect_timeout` | [`connect_timeout`](Self::connect_timeout), in seconds | 5 |
/// | `heartbeat` | [`heartbeat`](Self::heartbeat), in seconds; 0 is off | the transport's |
/// | `max_retries` | attempts after the first | no limit but the deadline |
/// | `interval_start`, `interval_step`, `interval_max` | waits between attempts, in seconds | 2, 2, 30 |
/// | `connect_retries_timeout` | the time for all attempts, in seconds | 30 |
/// | `failover_strategy` | `round-robin` or `shuffle` | `round-robin` |
/// | `ssl` | TLS on or off | as the scheme says |
/// | `ssl_…` | see [`TlsOptions`] | full verification |
///
/// # Kombu
///
/// Arguments of `Connection` and the keys of `transport_options` that the connection itself reads.
/// Kombu's total time for attempts is `connect_timeout` unless `connect_retries_timeout` is set,
/// so that its waits are mostly for nothing; here the two are apart. `ssl=0` is off; in a URL,
/// Kombu takes it for on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// The time for one attempt to connect to one broker. Default: 5 s.
    pub connect_timeout: Duration,
    /// The time between heartbeats; zero for none, `None` for the transport's default.
    pub heartbeat: Option<Duration>,
    /// When to try again. Default: [`RetryPolicy::connect`].
    pub retry: RetryPolicy,
    /// In which order several URLs are tried. Default: round-robin.
    pub failover: FailoverStrategy,
    /// Whether and how to use TLS. Default: as the scheme says.
    pub tls: TlsChoice,
}

impl ConnectionOptions {
    /// Takes these options out; what remains is the transport's.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a value that does not fit, naming the option and what would be right,
    /// and for an unknown option that starts with `ssl_`.
    pub fn take(options: &mut Options) -> Result<Self> {
        let mut reader =
            OptionReader::new("connection", options.extract(|name| NAMES.contains(&name)));
        let mut taken = Self::default();
        if let Some(timeout) = reader.duration("connect_timeout")? {
            if timeout.is_zero() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "option connect_timeout is 0; write more than 0 seconds",
                ));
            }
            taken.connect_timeout = timeout;
        }
        taken.heartbeat = reader.duration("heartbeat")?;
        let mut retry = taken.retry;
        if let Some(max_retries) = reader.u32("max_retries")? {
            retry = retry.max_retries(max_retries);
        }
        if let Some(interval) = reader.duration("interval_start")? {
            retry = retry.interval_start(interval);
        }
        if let Some(interval) = reader.duration("interval_step")? {
            retry = retry.interval_step(interval);
        }
        if let Some(interval) = reader.duration("interval_max")? {
            retry = retry.interval_max(interval);
        }
        if let Some(deadline) = reader.duration("connect_retries_timeout")? {
            retry = retry.deadline(deadline);
        }
        taken.retry = retry;
        if let Some(name) = reader.text("failover_strategy")? {
            taken.failover = name.parse()?;
        }
        reader.finish()?;
        let tls = options.extract(|name| name == "ssl" || name.starts_with("ssl_"));
        taken.tls = tls::choice(tls)?;
        Ok(taken)
    }

    /// Whether and how a connection to `url` uses TLS. `secure_schemes` are those, as written
    /// before the `+`, that always mean TLS.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the scheme means TLS and the options switch it off.
    pub fn tls_for(&self, url: &BrokerUrl, secure_schemes: &[&str]) -> Result<Option<TlsOptions>> {
        let secure = secure_schemes.contains(&url.scheme());
        match &self.tls {
            TlsChoice::On(tls) => Ok(Some(tls.clone())),
            TlsChoice::AsScheme if secure => Ok(Some(TlsOptions::default())),
            TlsChoice::Off if secure => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "option ssl is off, but {}:// always means TLS; remove one of the two, or turn \
                     verification off with ssl_cert_reqs=none",
                    url.scheme()
                ),
            )),
            TlsChoice::AsScheme | TlsChoice::Off => Ok(None),
        }
    }
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            heartbeat: None,
            retry: RetryPolicy::connect(),
            failover: FailoverStrategy::default(),
            tls: TlsChoice::default(),
        }
    }
}

/// Whether TLS is used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum TlsChoice {
    /// If the scheme says so, as `amqps` and `rediss` do.
    #[default]
    AsScheme,
    /// No: `ssl` is false.
    Off,
    /// Yes, with these options: `ssl` is true, or an option that starts with `ssl_` is given.
    On(TlsOptions),
}

/// The names of these options but `ssl` and those that start with `ssl_`.
pub(super) const NAMES: &[&str] = &[
    "connect_retries_timeout",
    "connect_timeout",
    "failover_strategy",
    "heartbeat",
    "interval_max",
    "interval_start",
    "interval_step",
    "max_retries",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Table, Value};

    fn from_query(query: &str) -> Result<(ConnectionOptions, Options)> {
        let url = BrokerUrl::parse(&format!("amqp://h?{query}"))?;
        let mut options = Options::from_query(&url);
        Ok((ConnectionOptions::take(&mut options)?, options))
    }

    fn refused(query: &str) -> String {
        from_query(query).expect_err(query).to_string()
    }

    #[test]
    fn what_is_not_common_remains() {
        let (taken, rest) = from_query(
            "connect_timeout=4&heartbeat=10&max_retries=3&interval_start=.1&interval_step=.2\
             &interval_max=1&connect_retries_timeout=9&failover_strategy=shuffle&confirm_publish=1",
        )
        .unwrap();
        assert_eq!(taken.connect_timeout, Duration::from_secs(4));
        assert_eq!(taken.heartbeat, Some(Duration::from_secs(10)));
        assert_eq!(
            taken.retry,
            RetryPolicy::publish().max_retries(3).deadline(Duration::from_secs(9))
        );
        assert!(matches!(taken.failover, FailoverStrategy::Shuffle));
        assert_eq!(taken.tls, TlsChoice::AsScheme);
        assert_eq!(rest, Options::new().with("confirm_publish", "1"));

        let mut map = Options::new().with("heartbeat", 10.0).with("ssl", true);
        let taken = ConnectionOptions::take(&mut map).unwrap();
        assert_eq!(taken.heartbeat, Some(Duration::from_secs(10)));
        assert_eq!(taken.tls, TlsChoice::On(TlsOptions::default()));
        assert!(map.is_empty());
    }

    #[test]
    fn wrong_values_are_refused() {
        assert!(refused("connect_timeout=0").contains("more than 0 seconds"));
        assert!(refused("heartbeat=x").contains("option heartbeat is \"x\"; write seconds"));
        assert!(refused("failover_strategy=random").contains("round-robin or shuffle"));
    }

    #[test]
    fn scheme_and_options_agree_on_tls_or_it_is_an_error() {
        let amqp = BrokerUrl::parse("amqp://h").unwrap();
        let amqps = BrokerUrl::parse("amqps://h").unwrap();
        let tls =
            |query: &str, url: &BrokerUrl| from_query(query).unwrap().0.tls_for(url, &["amqps"]);
        assert_eq!(tls("", &amqp).unwrap(), None);
        assert_eq!(tls("", &amqps).unwrap(), Some(TlsOptions::default()));
        for off in ["ssl=0", "ssl=false", "ssl=False&ssl_ca_certs=/ca.pem"] {
            assert_eq!(tls(off, &amqp).unwrap(), None, "{off}");
            let error = tls(off, &amqps).unwrap_err();
            assert!(error.to_string().contains("amqps:// always means TLS"), "{error}");
        }
        for on in ["ssl=1", "ssl=true", "ssl_cert_reqs=required"] {
            assert_eq!(tls(on, &amqp).unwrap(), Some(TlsOptions::default()), "{on}");
        }
        // As Kombu's `broker_use_ssl`: a table, with or without the prefix.
        let table = Table::new().with("ca_certs", "/ca.pem").with("ssl_certfile", "/c.pem");
        let mut map = Options::new().with("ssl", Value::Table(table));
        let TlsChoice::On(tls) = ConnectionOptions::take(&mut map).unwrap().tls else {
            panic!("TLS is on");
        };
        assert_eq!(tls.ca_certs, Some("/ca.pem".into()));
        assert_eq!(tls.certfile, Some("/c.pem".into()));
    }
}
