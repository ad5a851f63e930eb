//! The transport and its brokers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{BrokerUrl, OptionReader, Result};
use kombu_virtual::{VirtualConnection, VirtualOptions};

use crate::broker::Broker;
use crate::store::MemoryStore;

/// The schemes of [`MemoryTransport`].
pub const SCHEMES: &[&str] = &["memory"];

/// Connects to brokers inside the process, by name.
///
/// Brokers and what is in their queues live as long as the transport; those of
/// [`shared`](Self::shared) as long as the process.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_memory::MemoryTransport;
/// let registry = TransportRegistry::new().with(MemoryTransport::new());
/// assert_eq!(registry.find("memory")?.name(), "memory");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryTransport {
    brokers: Arc<Brokers>,
}

type Brokers = Mutex<HashMap<String, Arc<Broker>>>;

impl MemoryTransport {
    /// A transport with brokers of its own: for tests, which then disturb nobody.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the default would be to share")]
    pub fn new() -> Self {
        Self { brokers: Arc::default() }
    }

    /// The transport whose brokers all of the process shares: the same URL means the same queues
    /// everywhere.
    #[must_use]
    pub fn shared() -> Self {
        static BROKERS: LazyLock<Arc<Brokers>> = LazyLock::new(Arc::default);
        Self { brokers: Arc::clone(&BROKERS) }
    }

    /// Forgets the broker of a URL, with all its queues. Connections that are open keep it; new
    /// ones meet an empty broker.
    pub fn forget(&self, url: &BrokerUrl) {
        self.lock().remove(&broker_name(url));
    }

    fn broker(&self, url: &BrokerUrl) -> Arc<Broker> {
        Arc::clone(self.lock().entry(broker_name(url)).or_default())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Broker>>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn name(&self) -> &'static str {
        "memory"
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
        promised.priority_order = PriorityOrder::HighFirst;
        promised.message_expiration = true;
        promised.queue_message_ttl = true;
        promised.queue_expires = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.delivery_count = true;
        promised.mandatory = true;
        promised.exclusive_queues = true;
        promised.auto_delete_queues = true;
        promised.consumer_count = true;
        promised.cancel_notify = true;
        promised.dead_letter = true;
        promised.max_length = true;
        promised.delayed_delivery = true;
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let mut reader = OptionReader::new("memory", params.options.clone());
        let options = VirtualOptions::read(&mut reader)?;
        reader.finish()?;
        let store = MemoryStore::new(self.broker(&params.url));
        Ok(VirtualConnection::start(Arc::new(store), options, self.capabilities()))
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

/// A broker's name: host and virtual host, where `localhost` is what no host is.
fn broker_name(url: &BrokerUrl) -> String {
    let host = url.host().filter(|host| *host != "localhost").unwrap_or_default();
    let vhost = url.vhost().filter(|vhost| *vhost != "/").unwrap_or_default();
    format!("{host}/{vhost}")
}
