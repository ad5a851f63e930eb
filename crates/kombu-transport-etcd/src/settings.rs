//! From a URL and options to where and how to connect.

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Identity, TlsOptions as Encryption};
use kombu_core::tls::Verify;
use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result, Secret, TlsOptions};

use crate::options::EtcdOptions;

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The members of a cluster, of which any will do.
    pub(crate) members: Vec<String>,
    /// What all keys begin with, its slash included.
    pub(crate) prefix: String,
    pub(crate) user: Option<(String, Secret)>,
    pub(crate) tls: Option<Encryption>,
    pub(crate) connect_timeout: Duration,
    /// The time between two signs of life.
    pub(crate) heartbeat: Duration,
    pub(crate) options: EtcdOptions,
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = EtcdOptions::from_options(params.options.clone())?;
        let url = &params.url;
        let tls = params.tls(&[])?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let member = |name: &str, port: Option<u16>| {
            let name = if name.is_empty() { "127.0.0.1" } else { name };
            let port = port.unwrap_or(2379);
            if name.contains(':') {
                format!("{scheme}://[{name}]:{port}")
            } else {
                format!("{scheme}://{name}:{port}")
            }
        };
        let mut members: Vec<_> =
            url.hosts().iter().map(|host| member(host.name(), host.port())).collect();
        if members.is_empty() {
            members.push(member("", None));
        }
        let path = url.vhost().unwrap_or_default().trim_matches('/');
        let parts = [options.prefix.as_str(), path].into_iter().filter(|part| !part.is_empty());
        let mut prefix = parts.collect::<Vec<_>>().join("/");
        if !prefix.is_empty() {
            prefix.push('/');
        }
        let third = options.lease_ttl / 3;
        let heartbeat = match params.connection.heartbeat {
            Some(heartbeat) if !heartbeat.is_zero() => third.min(heartbeat),
            _ => third,
        };
        let user = url.username().map(|user| {
            let password = url.password().cloned().unwrap_or_else(|| Secret::new(""));
            (user.to_owned(), password)
        });
        Ok(Self {
            members,
            prefix,
            user,
            tls: tls.as_ref().map(encryption).transpose()?,
            connect_timeout: params.connection.connect_timeout,
            heartbeat,
            options,
        })
    }
}

/// The driver verifies all or the call fails: there is no way to switch it off.
fn encryption(tls: &TlsOptions) -> Result<Encryption> {
    if tls.verify != Verify::Full {
        return Err(Error::unsupported("etcd", "TLS without full verification"));
    }
    let mut encryption = Encryption::new();
    encryption = match &tls.ca_certs {
        Some(path) => encryption.ca_certificate(Certificate::from_pem(read(path)?)),
        None => encryption.with_native_roots(),
    };
    if let Some(path) = &tls.certfile {
        let key = tls.keyfile.as_deref().unwrap_or(path);
        encryption = encryption.identity(Identity::from_pem(read(path)?, read(key)?));
    }
    if let Some(name) = &tls.server_name {
        encryption = encryption.domain_name(name);
    }
    Ok(encryption)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Tls, format!("cannot read {}", path.display())).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?)
    }

    #[test]
    fn members_and_prefixes_are_read() {
        for (url, members, prefix) in [
            ("etcd://", vec!["http://127.0.0.1:2379"], "kombu/"),
            ("etcd://h:1//", vec!["http://h:1"], "kombu/"),
            ("etcd://a:1,b/v", vec!["http://a:1", "http://b:2379"], "kombu/v/"),
            ("etcd://h?ssl=1&prefix=mine", vec!["https://h:2379"], "mine/"),
            ("etcd://[::1]:4/a/b?prefix=", vec!["http://[::1]:4"], "a/b/"),
        ] {
            let read = settings(url).unwrap();
            assert_eq!(read.members, members, "{url}");
            assert_eq!(read.prefix, prefix, "{url}");
        }
    }

    #[test]
    fn credentials_are_read_and_not_shown() {
        let read = settings("etcd://bob:hunter2@h").unwrap();
        assert_eq!(read.user.as_ref().map(|(name, _)| name.as_str()), Some("bob"));
        assert!(!format!("{read:?}").contains("hunter2"));
    }

    #[test]
    fn what_the_driver_cannot_do_is_refused() {
        for query in ["ssl_cert_reqs=none", "ssl_check_hostname=false"] {
            let error = settings(&format!("etcd://h?{query}")).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }
}
