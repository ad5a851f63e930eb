//! What a transport needs to connect.

use crate::error::Result;
use crate::options::{ConnectionOptions, Options};
use crate::tls::TlsOptions;
use crate::url::BrokerUrl;

/// Everything for one attempt to connect to one URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectParams {
    /// The broker. Its query is already part of `options`.
    pub url: BrokerUrl,
    /// The transport's own options, from the URL's query and from the connection's settings.
    pub options: Options,
    /// What means the same for every transport: connect timeout, heartbeat, TLS.
    pub connection: ConnectionOptions,
    /// A name for this connection that the broker can show. Default: none.
    pub client_name: Option<String>,
}

impl ConnectParams {
    /// Parameters for a URL, whose query wins over `options`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a value that an option of the core does not take.
    pub fn new(url: BrokerUrl, options: Options) -> Result<Self> {
        let mut options = options.overridden_by(Options::from_query(&url));
        let connection = ConnectionOptions::take(&mut options)?;
        Ok(Self { url, options, connection, client_name: None })
    }

    /// Whether and how to use TLS; `secure_schemes` are those that always mean TLS.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when the scheme means TLS and the options switch it off.
    pub fn tls(&self, secure_schemes: &[&str]) -> Result<Option<TlsOptions>> {
        self.connection.tls_for(&self.url, secure_schemes)
    }
}
