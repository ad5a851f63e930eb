//! What a connection needs to know, read once from the parameters.

use std::time::Duration;

use kombu_core::transport::ConnectParams;
use kombu_core::url::Secret;
use kombu_core::{Error, ErrorKind, Result};

use crate::driver::dial::{Target, Tls};
use crate::names;
use crate::options::{AmqpOptions, LoginMethod};

/// One broker, and how to talk to it.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) target: Target,
    pub(crate) vhost: String,
    pub(crate) username: String,
    pub(crate) password: Secret,
    /// In seconds; `None` for the broker's proposal.
    pub(crate) heartbeat: Option<u16>,
    pub(crate) name: String,
    pub(crate) options: AmqpOptions,
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = AmqpOptions::from_options(params.options.clone())?;
        let url = &params.url;
        if url.hosts().len() > 1 {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                "an AMQP URL has one host; write alternates as URLs of their own, joined by `;`",
            ));
        }
        let host = url.host().unwrap_or("localhost").to_owned();
        let tls = match params.tls(SECURE_SCHEMES)? {
            None => None,
            Some(tls) => {
                Some(Tls { server_name: tls.server_name_for(&host)?, config: tls.client_config()? })
            }
        };
        let port = url.port().unwrap_or(if tls.is_some() { 5671 } else { 5672 });
        if options.login_method == LoginMethod::External && tls.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "login_method EXTERNAL needs TLS with a client certificate: use amqps:// with \
                 ssl_certfile and ssl_keyfile",
            ));
        }
        let vhost = url.vhost().unwrap_or("/").to_owned();
        names::check("virtual host", &vhost)?;
        Ok(Self {
            target: Target { host, port, tls, timeout: params.connection.connect_timeout },
            vhost,
            username: url.username().unwrap_or("guest").to_owned(),
            password: url.password().cloned().unwrap_or_else(|| Secret::new("guest")),
            heartbeat: params.connection.heartbeat.map(heartbeat_seconds),
            name: params.client_name.clone().unwrap_or_else(default_name),
            options,
        })
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.target.timeout
    }
}

/// Schemes that always mean TLS.
const SECURE_SCHEMES: &[&str] = &["amqps"];

/// A heartbeat in AMQP's whole seconds. Zero, "off", is the longest: no driver can do without if
/// the broker proposes one, and the shorter one counts.
fn heartbeat_seconds(heartbeat: Duration) -> u16 {
    if heartbeat.is_zero() {
        return u16::MAX;
    }
    let seconds = heartbeat.as_secs() + u64::from(heartbeat.subsec_nanos() > 0);
    u16::try_from(seconds).unwrap_or(u16::MAX)
}

fn default_name() -> String {
    let program = std::env::args_os().next().and_then(|path| {
        Some(std::path::Path::new(&path).file_name()?.to_string_lossy().into_owned())
    });
    format!("{} (pid {})", program.as_deref().unwrap_or("kombu"), std::process::id())
}

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        let url = BrokerUrl::parse(url)?;
        Settings::new(&ConnectParams::new(url, Options::new())?)
    }

    #[test]
    fn defaults_are_kombus() {
        let settings = settings("amqp://").unwrap();
        assert_eq!(settings.target.address(), "localhost:5672");
        assert_eq!((settings.vhost.as_str(), settings.username.as_str()), ("/", "guest"));
        assert_eq!(settings.password.expose(), "guest");
        assert_eq!(settings.heartbeat, None);
        assert_eq!(settings.timeout(), Duration::from_secs(5));
    }

    #[test]
    fn vhosts_and_ports_are_read() {
        for (url, address, vhost) in [
            ("amqp://h//", "h:5672", "/"),
            ("amqp://h/%2F", "h:5672", "/"),
            ("pyamqp://h:1/v", "h:1", "v"),
            ("amqps://h", "h:5671", "/"),
            ("amqp://[::1]/v?ssl=1", "[::1]:5671", "v"),
        ] {
            let settings = settings(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(settings.target.address(), address, "{url}");
            assert_eq!(settings.vhost, vhost, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [
            ("amqp://h?login_method=EXTERNAL".to_owned(), "needs TLS"),
            (format!("amqp://h/{}", "v".repeat(256)), "virtual host has 256 bytes"),
            ("amqp://a,b/v".to_owned(), "one host"),
        ] {
            let error = settings(&url).map(drop).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn heartbeats_are_whole_seconds() {
        for (heartbeat, seconds) in
            [(Duration::ZERO, u16::MAX), (Duration::from_millis(1), 1), (Duration::from_secs(9), 9)]
        {
            assert_eq!(heartbeat_seconds(heartbeat), seconds);
        }
    }
}
