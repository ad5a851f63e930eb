//! From a URL and options to where and how to connect.

use std::time::Duration;

use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result};

use crate::mac::Key;
use crate::options::PyroOptions;
use crate::session::Place;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name_server: Place,
    /// The broker's name in the name server.
    pub(crate) name: String,
    pub(crate) key: Option<Key>,
    pub(crate) name_server_key: Option<Key>,
    /// The most bytes of a frame's data.
    pub(crate) limit: usize,
    pub(crate) connect_timeout: Duration,
    /// How long the link may be idle before it is tried; twice as long without an answer, and it
    /// is lost. Zero: for ever.
    pub(crate) heartbeat: Duration,
    pub(crate) options: PyroOptions,
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = PyroOptions::from_options(params.options.clone())?;
        if params.tls(&[])?.is_some() {
            return Err(Error::unsupported("pyro", "TLS"));
        }
        let url = &params.url;
        if url.hosts().len() > 1 {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                "one URL has one name server; write several URLs, separated by `;`",
            ));
        }
        let host = url.host().filter(|host| !host.is_empty()).unwrap_or("127.0.0.1");
        let name = url.vhost().filter(|name| !name.is_empty()).unwrap_or("kombu.broker");
        let secret = options.hmac_key.as_ref().or(url.password());
        let name_server_secret = options.name_server_hmac_key.as_ref().or(secret);
        Ok(Self {
            name_server: Place::Tcp(host.to_owned(), url.port().unwrap_or(9090)),
            name: name.to_owned(),
            key: secret.and_then(Key::new),
            name_server_key: name_server_secret.and_then(Key::new),
            limit: options.max_message_size,
            connect_timeout: params.connection.connect_timeout,
            heartbeat: params.connection.heartbeat.unwrap_or(Duration::from_secs(10)),
            options,
        })
    }

    /// The broker, as what is to go back to it remembers it.
    pub(crate) fn address(&self) -> String {
        format!("{}/{}", self.name_server, self.name)
    }
}

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?)
    }

    #[test]
    fn name_servers_and_names_are_read() {
        for (url, address) in [
            ("pyro://", "127.0.0.1:9090/kombu.broker"),
            ("pyro://h", "h:9090/kombu.broker"),
            ("pyro://h:1/a", "h:1/a"),
            ("pyro://[::1]:1/a.b", "[::1]:1/a.b"),
        ] {
            assert_eq!(settings(url).unwrap().address(), address, "{url}");
        }
    }

    #[test]
    fn keys_are_the_password_or_options() {
        let keys = |url| {
            let read = settings(url).unwrap();
            (read.key.is_some(), read.name_server_key.is_some())
        };
        assert_eq!(keys("pyro://h"), (false, false));
        assert_eq!(keys("pyro://:key@h"), (true, true));
        assert_eq!(keys("pyro://h?hmac_key=key"), (true, true));
        assert_eq!(keys("pyro://h?hmac_key=key&name_server_hmac_key="), (true, false));
        assert_eq!(keys("pyro://h?name_server_hmac_key=key"), (false, true));
        let shown = format!("{:?}", settings("pyro://u:hunter2@h").unwrap());
        assert!(!shown.contains("hunter2"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [("pyro://h?ssl=1", "TLS"), ("pyro://a,b", "separated by `;`")] {
            let error = settings(url).map(drop).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }
}
