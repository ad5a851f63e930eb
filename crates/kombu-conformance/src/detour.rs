//! Ways through a proxy to brokers that are found by a directory.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::kit::Result;

/// Leads links through a proxy where a URL names a directory, which says where the broker is, and
/// not the broker itself. Without one, the proxy stands for the host and port of the URL.
#[async_trait]
pub trait Detour: Debug + Send + Sync + 'static {
    /// The host and port of the broker that the directory of a URL leads to.
    ///
    /// # Errors
    ///
    /// Anything; the case fails.
    async fn broker(&self, url: &str) -> Result<(String, u16)>;

    /// A URL whose directory leads to a port of this machine, where the proxy listens.
    ///
    /// # Errors
    ///
    /// Anything; the case fails.
    async fn through(&self, url: &str, port: u16) -> Result<String>;
}
