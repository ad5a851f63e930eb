//! How a connection is configured.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Connection, Shared};
use crate::codec::{Accept, Codecs};
use crate::compression::Compressions;
use crate::consumer::BodyContext;
use crate::error::{Error, Result};
use crate::failover::FailoverStrategy;
use crate::options::{Options, TlsChoice};
use crate::retry::RetryPolicy;
use crate::tls::TlsOptions;
use crate::transport::{ConnectParams, Transport, TransportRegistry};
use crate::url::{BrokerUrl, BrokerUrls, IntoUrls};
use crate::value::Value;

/// A connection under construction.
///
/// ```no_run
/// # async fn example(registry: kombu_core::transport::TransportRegistry) -> kombu_core::Result<()> {
/// use kombu_core::{Connection, RetryPolicy};
/// let connection = Connection::builder("amqp://localhost//;amqp://standby//")
///     .registry(registry)
///     .retry(RetryPolicy::connect())
///     .client_name("encoder")
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct ConnectionBuilder {
    urls: Result<BrokerUrls>,
    registry: TransportRegistry,
    settings: Settings,
    codecs: Codecs,
    compressions: Compressions,
    accept: Accept,
    retry: Option<RetryPolicy>,
    failover: Option<FailoverStrategy>,
}

/// What a connection was configured with.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What transports are to know, and the core's own options by their Kombu names.
    pub(crate) options: Options,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) client_name: Option<String>,
    pub(crate) failover: FailoverStrategy,
    pub(crate) retry: RetryPolicy,
    pub(crate) recovery: RetryPolicy,
    pub(crate) operation_timeout: Duration,
    pub(crate) publish_timeout: Duration,
    pub(crate) bodies: Arc<BodyContext>,
}

impl Settings {
    /// The parameters for a URL: these settings, and over them what the URL itself says.
    pub(super) fn params(&self, url: &BrokerUrl) -> Result<ConnectParams> {
        let mut params = ConnectParams::new(url.clone(), self.options.clone())?;
        if let (TlsChoice::AsScheme, Some(tls)) = (&params.connection.tls, &self.tls) {
            params.connection.tls = TlsChoice::On(tls.clone());
        }
        params.client_name.clone_from(&self.client_name);
        Ok(params)
    }
}

impl ConnectionBuilder {
    pub(super) fn new(urls: impl IntoUrls) -> Self {
        let bodies = BodyContext {
            codecs: Codecs::default(),
            compressions: Compressions::default(),
            accept: Accept::default(),
        };
        Self {
            urls: urls.into_urls(),
            registry: TransportRegistry::new(),
            codecs: bodies.codecs.clone(),
            compressions: bodies.compressions.clone(),
            accept: bodies.accept.clone(),
            retry: None,
            failover: None,
            settings: Settings {
                options: Options::default(),
                tls: None,
                client_name: None,
                failover: FailoverStrategy::default(),
                retry: RetryPolicy::connect(),
                recovery: RetryPolicy::recover(),
                operation_timeout: Duration::from_secs(30),
                publish_timeout: Duration::from_secs(30),
                bodies: Arc::new(bodies),
            },
        }
    }

    /// The transports it may use. The crate `kombu` sets those of its features.
    pub fn registry(mut self, registry: TransportRegistry) -> Self {
        self.registry = registry;
        self
    }

    /// Adds one transport.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.registry = self.registry.with(transport);
        self
    }

    /// Sets an option by its name in the transport's documentation (Kombu's `transport_options`).
    /// An option in a URL's query wins for that URL.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.settings.options.insert(name, value);
        self
    }

    /// Sets many options.
    pub fn options(mut self, options: Options) -> Self {
        self.settings.options = self.settings.options.overridden_by(options);
        self
    }

    /// How long connecting to one URL may take. Default: 5 s.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.option("connect_timeout", timeout.as_secs_f64())
    }

    /// How often the link is checked; `Duration::ZERO` turns that off. Default: the transport's.
    pub fn heartbeat(self, interval: Duration) -> Self {
        self.option("heartbeat", interval.as_secs_f64())
    }

    /// Uses TLS, with these certificates and this verification; options in a URL win for that URL.
    /// Default: as the scheme says, with the system's root certificates, everything verified.
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.settings.tls = Some(tls);
        self
    }

    /// In which order URLs are tried. Default: round robin, the last good one first.
    pub fn failover(mut self, strategy: FailoverStrategy) -> Self {
        self.failover = Some(strategy);
        self
    }

    /// How often the first connection is tried. Default: [`RetryPolicy::connect`], changed by the
    /// options of the first URL. [`RetryPolicy::once`] tries every URL once.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// How often a lost link is made again. Default: [`RetryPolicy::recover`], without end.
    pub fn recovery(mut self, policy: RetryPolicy) -> Self {
        self.settings.recovery = policy;
        self
    }

    /// How long a declaration, get, purge and the like may take in all, waiting for a link
    /// included. Default: 30 s.
    pub fn operation_timeout(mut self, timeout: Duration) -> Self {
        self.settings.operation_timeout = timeout;
        self
    }

    /// How long a publish may take in all. Default: 30 s.
    pub fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.settings.publish_timeout = timeout;
        self
    }

    /// A name that the broker can show.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.settings.client_name = Some(name.into());
        self
    }

    /// The codecs that bodies are written and read with. Default: JSON, text, raw bytes, and those
    /// of the features that are enabled.
    pub fn codecs(mut self, codecs: Codecs) -> Self {
        self.codecs = codecs;
        self
    }

    /// The compression methods. Default: those of the crate's features.
    pub fn compressions(mut self, compressions: Compressions) -> Self {
        self.compressions = compressions;
        self
    }

    /// What received bodies may be, where a consumer does not say. Default: JSON, text, raw bytes.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = accept.into();
        self
    }

    /// Makes the connection without connecting: it connects at its first use.
    ///
    /// # Errors
    ///
    /// `InvalidUrl` for a URL or scheme, `InvalidArgument` for an option of the core's own or an
    /// unknown name in the accept list.
    pub fn build(self) -> Result<Connection> {
        let mut settings = self.settings;
        let urls = self.urls.map_err(|error| error.during("connect"))?;
        for url in &urls {
            self.registry.find(url.full_scheme()).map_err(|error| explain(error, url))?;
        }
        self.accept.check(&self.codecs)?;
        settings.bodies = Arc::new(BodyContext {
            codecs: self.codecs,
            compressions: self.compressions,
            accept: self.accept,
        });
        for (index, url) in urls.iter().enumerate() {
            let own = settings.params(url).map_err(|error| explain(error, url))?.connection;
            // What concerns all URLs together is read from the first.
            if index == 0 {
                settings.retry = self.retry.clone().unwrap_or(own.retry);
                settings.failover = self.failover.clone().unwrap_or(own.failover);
            }
        }
        Ok(Connection::start(Arc::new(Shared::new(urls, self.registry, settings))))
    }

    /// Makes the connection and connects.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), and what kept each of the brokers from answering.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was begun ends.
    pub async fn connect(self) -> Result<Connection> {
        let connection = self.build()?;
        connection.connect().await?;
        Ok(connection)
    }
}

impl fmt::Debug for ConnectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder").field("urls", &self.urls).finish_non_exhaustive()
    }
}

fn explain(error: Error, url: &BrokerUrl) -> Error {
    error.during("connect").with("url", url)
}
