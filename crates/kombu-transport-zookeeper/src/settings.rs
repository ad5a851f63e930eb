//! From a URL and options to where and how to connect.

use std::time::Duration;

use kombu_core::transport::ConnectParams;
use kombu_core::{Error, ErrorKind, Result, Secret};

use crate::options::{Access, ZooKeeperOptions};

/// Where to connect to, and how.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The servers of an ensemble, as the driver wants them.
    pub(crate) servers: String,
    /// The node below which everything is; none for the root.
    pub(crate) root: Option<String>,
    /// `user:password`.
    pub(crate) identity: Option<Secret>,
    pub(crate) access: Access,
    pub(crate) connect_timeout: Duration,
    /// A silence after which the link counts as lost.
    pub(crate) silence: Duration,
    pub(crate) options: ZooKeeperOptions,
}

impl Settings {
    pub(crate) fn new(params: &ConnectParams) -> Result<Self> {
        let options = ZooKeeperOptions::from_options(params.options.clone())?;
        if params.tls(&[])?.is_some() {
            return Err(Error::unsupported("zookeeper", "TLS"));
        }
        let url = &params.url;
        let server = |(name, port): (&str, Option<u16>)| {
            let name = if name.is_empty() { "127.0.0.1" } else { name };
            let port = port.unwrap_or(2181);
            if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
        };
        let servers: Vec<_> =
            url.hosts().iter().map(|host| server((host.name(), host.port()))).collect();
        let servers = if servers.is_empty() { server(("", None)) } else { servers.join(",") };
        let identity = match (url.username(), url.password()) {
            (None, None) => None,
            (user, password) => Some(Secret::new(format!(
                "{}:{}",
                user.unwrap_or_default(),
                password.map(|secret| secret.expose()).unwrap_or_default()
            ))),
        };
        let default = if identity.is_some() { Access::Creator } else { Access::Open };
        let access = options.acl.clone().unwrap_or(default);
        if access == Access::Creator && identity.is_none() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "option acl is `creator`, which needs a user and a password in the URL",
            ));
        }
        // The driver wants less than three fifths of the session's time.
        let most = options.session_timeout * 2 / 5;
        let silence = match params.connection.heartbeat {
            Some(heartbeat) if !heartbeat.is_zero() => most.min(heartbeat * 2),
            _ => most,
        };
        Ok(Self {
            servers,
            root: root(url.vhost())?,
            identity,
            access,
            connect_timeout: params.connection.connect_timeout,
            silence,
            options,
        })
    }
}

/// The path of a virtual host, which may have several parts.
fn root(vhost: Option<&str>) -> Result<Option<String>> {
    let path = vhost.unwrap_or_default().trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::new(
            ErrorKind::InvalidUrl,
            format!("{path:?} is to be the path of a node, without empty parts, `.` or `..`"),
        ));
    }
    Ok(Some(format!("/{path}")))
}

#[cfg(test)]
mod tests {
    use kombu_core::{BrokerUrl, Options};

    use super::*;

    fn settings(url: &str) -> Result<Settings> {
        Settings::new(&ConnectParams::new(BrokerUrl::parse(url)?, Options::new())?)
    }

    #[test]
    fn servers_and_virtual_hosts_are_read() {
        for (url, servers, root) in [
            ("zookeeper://", "127.0.0.1:2181", None),
            ("zookeeper://h", "h:2181", None),
            ("zookeeper://h:1//", "h:1", None),
            ("zookeeper://a:1,b,c:3/v", "a:1,b:2181,c:3", Some("/v")),
            ("zookeeper://h/a/b", "h:2181", Some("/a/b")),
            ("zookeeper://[::1]:4/v", "[::1]:4", Some("/v")),
        ] {
            let read = settings(url).unwrap();
            assert_eq!((read.servers.as_str(), read.root.as_deref()), (servers, root), "{url}");
        }
    }

    #[test]
    fn a_user_makes_nodes_private() {
        let read = settings("zookeeper://bob:bob%3Apw@h/v").unwrap();
        assert_eq!(read.identity.unwrap().expose(), "bob:bob:pw");
        assert_eq!(read.access, Access::Creator);
        assert_eq!(settings("zookeeper://h").unwrap().access, Access::Open);
        assert_eq!(settings("zookeeper://bob:pw@h?acl=open").unwrap().access, Access::Open);
        assert!(!format!("{:?}", settings("zookeeper://bob:hunter2@h").unwrap()).contains("hunt"));
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (url, says) in [
            ("zookeeper://h?ssl=1", "TLS"),
            ("zookeeper://h/a/../b", "path of a node"),
            ("zookeeper://h?acl=creator", "needs a user"),
        ] {
            let error = settings(url).map(drop).unwrap_err();
            assert!(error.to_string().contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_heartbeat_shortens_the_silence() {
        let silence = |url| settings(url).unwrap().silence;
        assert_eq!(silence("zookeeper://h"), Duration::from_secs(4));
        assert_eq!(silence("zookeeper://h?heartbeat=1"), Duration::from_secs(2));
        assert_eq!(silence("zookeeper://h?heartbeat=60"), Duration::from_secs(4));
    }
}
