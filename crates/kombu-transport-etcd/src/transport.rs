//! The transport.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::Result;
use kombu_core::transport::{Capabilities, ConnectParams, RawConnection, Transport};
use kombu_virtual::VirtualConnection;

use crate::core::Core;
use crate::estates::Estates;
use crate::layout::LARGEST;
use crate::settings::Settings;
use crate::store::EtcdStore;

/// The schemes of [`EtcdTransport`].
pub const SCHEMES: &[&str] = &["etcd"];

/// Connects to etcd, by its v3 API.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_etcd::EtcdTransport;
/// let registry = TransportRegistry::new().with(EtcdTransport::new());
/// assert_eq!(registry.find("etcd")?.name(), "etcd");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EtcdTransport {
    /// What links of this transport left when they were lost.
    estates: Arc<Estates>,
}

impl EtcdTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for EtcdTransport {
    fn name(&self) -> &'static str {
        "etcd"
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
        promised.priority = true;
        promised.persistence = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised.heartbeats = true;
        promised.max_message_bytes = u64::try_from(LARGEST).ok();
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let settings = Settings::new(params)?;
        let layer = settings.options.layer.clone();
        let core = Core::connect(&settings, Arc::clone(&self.estates)).await?;
        let store = Arc::new(EtcdStore::new(core).await?);
        Ok(VirtualConnection::start(store, layer, self.capabilities()))
    }
}
