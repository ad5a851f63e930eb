//! Where to connect to, and as whom.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kombu_core::url::Secret;

/// Where a server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Tcp {
        host: String,
        port: u16,
    },
    Socket(PathBuf),
    /// Any of the nodes of a cluster.
    Cluster(Vec<(String, u16)>),
}

/// How to connect.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    /// None where there are no databases.
    pub(crate) database: Option<u8>,
    pub(crate) tls: Option<Tls>,
    pub(crate) timeout: Duration,
}

/// How to encrypt.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    pub(crate) config: Arc<tokio_rustls::rustls::ClientConfig>,
    pub(crate) server_name: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Socket(path) => write!(f, "{}", path.display()),
            Self::Cluster(nodes) => {
                for (index, (host, port)) in nodes.iter().enumerate() {
                    write!(f, "{}{host}:{port}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}
