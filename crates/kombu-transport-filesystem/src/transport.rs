//! The transport.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{Result, Scope};
use kombu_virtual::VirtualConnection;

use crate::options::FilesystemOptions;
use crate::store::FilesystemStore;

/// The schemes of [`FilesystemTransport`].
pub const SCHEMES: &[&str] = &["filesystem"];

/// Connects to folders.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_filesystem::FilesystemTransport;
/// let registry = TransportRegistry::new().with(FilesystemTransport::new());
/// assert_eq!(registry.find("filesystem")?.name(), "filesystem");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FilesystemTransport {}

impl FilesystemTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for FilesystemTransport {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    fn capabilities(&self) -> Capabilities {
        let mut promised = Capabilities::default();
        promised.direct = true;
        promised.topic = true;
        promised.fanout = true;
        promised.shared_bindings = true;
        promised.priority = true;
        promised.priority_order = PriorityOrder::HighFirst;
        promised.persistence = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.delivery_count = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let mut options = FilesystemOptions::from_options(params.options.clone())?;
        // The layer is not to pause where the operating system tells of changes.
        let poll = options.layer.polling_interval.take().unwrap_or(POLL);
        let layer = options.layer.clone();
        let store = FilesystemStore::open(options, poll.max(SHORTEST_POLL))
            .await
            .map_err(|error| error.scoped(Scope::Connection))?;
        Ok(VirtualConnection::start(Arc::new(store), layer, self.capabilities()))
    }
}

/// Kombu's interval.
const POLL: Duration = Duration::from_secs(1);

/// What keeps a program from listing a folder without end.
const SHORTEST_POLL: Duration = Duration::from_millis(10);
