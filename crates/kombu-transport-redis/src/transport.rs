//! The transport.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{Error, Result};
use kombu_virtual::VirtualConnection;

use crate::core::Core;
use crate::driver::Link;
use crate::estate::Estates;
use crate::keys::Keys;
use crate::place::Place;
use crate::sentinel::Sentinels;
use crate::settings::{Settings, Target};
use crate::store::RedisStore;

/// The schemes of [`RedisTransport`].
pub const SCHEMES: &[&str] = &["redis", "rediss", "sentinel"];

/// Connects to Redis.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_redis::RedisTransport;
/// let registry = TransportRegistry::new().with(RedisTransport::new());
/// assert_eq!(registry.find("rediss")?.name(), "redis");
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
        let login = &settings.login;
        let (core, place) = match &settings.target {
            Target::Place(place) => (open(place, &settings).await?, place.to_string()),
            Target::Sentinels(sentinels) => {
                let core = open_master(sentinels, &settings).await?;
                (core, format!("master {}", sentinels.master_name))
            }
        };
        let place: Arc<str> = format!("{place}/{}", login.database.unwrap_or(0)).into();
        self.estates.settle(&core, &place).await?;
        let (dying, estates) = (Arc::downgrade(&core), Arc::clone(&self.estates));
        core.link.on_loss(move || {
            if let Some(core) = dying.upgrade() {
                estates.bequeath(&core, &place);
            }
        });
        let layer = settings.options.layer.clone();
        let mut promised = self.capabilities();
        promised.persistence = core.server.persistent;
        Ok(VirtualConnection::start(Arc::new(RedisStore::new(core)), layer, promised))
    }
}

/// Connects to a server that takes messages.
async fn open(place: &Place, settings: &Settings) -> Result<Arc<Core>> {
    let mut link = Link::connect(place, &settings.login).await?;
    link.keep_alive(settings.heartbeat);
    if let Some(limit) = settings.options.socket.timeout {
        link.answer_within(limit);
    }
    if let Some(name) = &settings.name {
        link.set_name(name).await?;
    }
    let clustered = matches!(place, Place::Cluster(_));
    let keys = Keys::new(&settings.options, settings.login.database.unwrap_or(0), clustered);
    let core = Core::start(link, keys, settings.options.clone()).await?;
    let useless = if core.server.loading {
        "LOADING: the server reads its data still"
    } else if !clustered && core.server.role == "slave" {
        "the server is a replica, which takes no messages"
    } else {
        return Ok(core);
    };
    core.close().await;
    Err(Error::lost(useless).with("server", place))
}

/// Connects to the master that sentinels name; if they differ, to the first that is one.
async fn open_master(sentinels: &Sentinels, settings: &Settings) -> Result<Arc<Core>> {
    let mut failure = None;
    for place in sentinels.masters().await? {
        match open(&place, settings).await {
            Ok(core) => return Ok(core),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::lost("no sentinel names a server")))
}
