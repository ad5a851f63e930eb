//! The transport.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{Error, Result};
use kombu_virtual::VirtualConnection;

use crate::core::Core;
use crate::driver::Link;
use crate::estate::Estates;
use crate::keys::Keys;
use crate::settings::Settings;
use crate::store::RedisStore;

/// The schemes of [`RedisTransport`].
pub const SCHEMES: &[&str] = &["redis"];

/// Connects to Redis.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_redis::RedisTransport;
/// let registry = TransportRegistry::new().with(RedisTransport::new());
/// assert_eq!(registry.find("redis")?.name(), "redis");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RedisTransport {
    /// What links of this transport left when they were lost.
    estates: Arc<Estates>,
}

impl RedisTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for RedisTransport {
    fn name(&self) -> &'static str {
        "redis"
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
        promised.priority_order = PriorityOrder::LowFirst;
        promised.queue_expires = true;
        promised.persistence = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised.heartbeats = true;
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let settings = Settings::new(params)?;
        let mut link = Link::connect(&settings.place, &settings.login).await?;
        link.keep_alive(settings.heartbeat);
        if let Some(name) = &settings.name {
            set_name(&link, name).await?;
        }
        let keys = Keys::new(&settings.options, settings.login.database, false);
        let layer = settings.options.layer.clone();
        let core = Core::start(link, keys, settings.options).await?;
        if core.server.role == "slave" {
            return Err(Error::lost("the server is a replica, which takes no messages")
                .with("server", &settings.place));
        }
        let place: Arc<str> = format!("{}/{}", settings.place, settings.login.database).into();
        self.estates.settle(&core, &place).await?;
        let (dying, estates) = (Arc::downgrade(&core), Arc::clone(&self.estates));
        core.link.on_loss(move || {
            if let Some(core) = dying.upgrade() {
                estates.bequeath(&core, &place);
            }
        });
        let mut promised = self.capabilities();
        promised.persistence = core.server.persistent;
        Ok(VirtualConnection::start(Arc::new(RedisStore::new(core)), layer, promised))
    }
}

/// Gives the connection a name for the server to show; spaces cannot be in it.
async fn set_name(link: &Link, name: &str) -> Result<()> {
    let name: String =
        name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '-' }).collect();
    let arguments = vec![Bytes::from_static(b"SETNAME"), Bytes::from(name)];
    // A user may be without the right to it.
    link.ask(b"", "CLIENT", arguments).await.map(drop)
}
