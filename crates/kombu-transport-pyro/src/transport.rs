//! The transport.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, RawConnection, Transport};
use kombu_core::{Error, Result};
use kombu_virtual::VirtualConnection;
use tokio::time::timeout;

use crate::link::Link;
use crate::locate;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::store::PyroStore;

/// The schemes of [`PyroTransport`].
pub const SCHEMES: &[&str] = &["pyro"];

/// Connects to brokers of Kombu's that Pyro4 daemons hold.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_pyro::PyroTransport;
/// let registry = TransportRegistry::new().with(PyroTransport::new());
/// assert_eq!(registry.find("pyro")?.name(), "pyro");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PyroTransport {
    shared: Arc<Shared>,
}

impl PyroTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for PyroTransport {
    fn name(&self) -> &'static str {
        "pyro"
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    fn capabilities(&self) -> Capabilities {
        let mut promised = Capabilities::default();
        promised.direct = true;
        promised.topic = true;
        promised.fanout = true;
        promised.headers = true;
        promised.exchange_bindings = true;
        promised.shared_bindings = true;
        promised.redelivered = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised.heartbeats = true;
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let settings = Settings::new(params)?;
        let (session, object) = locate::broker(&settings).await?;
        let link = Link::start(session, object, &settings, &self.shared);
        let layer = settings.options.layer.clone();
        let store = timeout(settings.connect_timeout, PyroStore::new(link, layer.clone())).await;
        let store = store.unwrap_or_else(|_elapsed| {
            Err(Error::lost("messages of an earlier link could not be put back in time"))
        })?;
        Ok(VirtualConnection::start(Arc::new(store), layer, self.capabilities()))
    }
}
