//! The transport.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{Error, Result};
use kombu_virtual::VirtualConnection;
use mongodb::Client;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::ServerAddress;
use tokio::sync::{Notify, watch};

use crate::broadcast;
use crate::core::Core;
use crate::error;
use crate::hub::Shared;
use crate::returns::{Which, give_back};
use crate::settings::Settings;
use crate::store::MongodbStore;

/// The schemes of [`MongodbTransport`].
pub const SCHEMES: &[&str] = &["mongodb", "mongodb+srv"];

/// Connects to MongoDB.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_mongodb::MongodbTransport;
/// let registry = TransportRegistry::new().with(MongodbTransport::new());
/// assert_eq!(registry.find("mongodb+srv")?.name(), "mongodb");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MongodbTransport {
    shared: Arc<Shared>,
}

impl MongodbTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Transport for MongodbTransport {
    fn name(&self) -> &'static str {
        "mongodb"
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
        promised.message_expiration = true;
        promised.queue_message_ttl = true;
        promised.queue_expires = true;
        promised.persistence = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.delivery_count = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised.heartbeats = true;
        promised.max_message_bytes = Some(LARGEST_DOCUMENT);
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let mut settings = Settings::new(params).await?;
        let servers: Vec<_> = settings.client.hosts.iter().map(ToString::to_string).collect();
        let place = format!("{}/{}", servers.join(","), settings.database);
        let doubt = Arc::new(Notify::new());
        let mut down = watch_servers(&mut settings, Arc::clone(&doubt));
        let client = Client::with_options(settings.client).map_err(error::driver)?;
        let starting = Core::start(
            client.clone(),
            &settings.database,
            settings.options.clone(),
            Arc::clone(&self.shared),
            self.shared.hub(&place),
            doubt,
        );
        let core = tokio::select! {
            biased;
            started = tokio::time::timeout(settings.timeout, starting) => match started {
                Ok(started) => started,
                Err(_late) => Err(Error::lost(format!(
                    "the server did not answer within {:?}", settings.timeout
                ))),
            },
            error = all_down(&mut down) => Err(error),
        };
        let core = match core {
            Ok(core) => core,
            Err(error) => {
                tokio::spawn(client.shutdown().immediate(true).into_future());
                return Err(error.with("server", servers.join(",")));
            }
        };
        for owner in self.shared.estates.owners() {
            give_back(&core, &Which::OwnedBy(owner), true).await?;
        }
        core.keep_alive(settings.heartbeat);
        core.spawn(broadcast::run(Arc::clone(&core)));
        let mut promised = self.capabilities();
        promised.max_message_bytes = u64::try_from(core.server.largest).ok();
        let store = Arc::new(MongodbStore::new(core));
        Ok(VirtualConnection::start(store, settings.options.layer, promised))
    }
}

/// Has the driver say that a server does not answer: whoever is connected is in doubt then, and
/// whoever connects need not wait any longer when it is all of them.
fn watch_servers(
    settings: &mut Settings,
    doubt: Arc<Notify>,
) -> watch::Receiver<Option<mongodb::error::Error>> {
    let (tell, down) = watch::channel(None);
    let servers = settings.client.hosts.len();
    let silent: Mutex<HashSet<ServerAddress>> = Mutex::default();
    settings.client.sdam_event_handler = Some(EventHandler::callback(move |event| match event {
        SdamEvent::ServerHeartbeatFailed(failed) => {
            doubt.notify_one();
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            silent.insert(failed.server_address.clone());
            if silent.len() >= servers {
                tell.send_replace(Some(failed.failure));
            }
        }
        SdamEvent::ServerHeartbeatSucceeded(answered) => {
            let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
            silent.remove(&answered.server_address);
        }
        _ => {}
    }));
    down
}

/// Waits until no server answers, and says why.
async fn all_down(down: &mut watch::Receiver<Option<mongodb::error::Error>>) -> Error {
    match down.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
        Ok(Some(failure)) => error::driver(failure),
        _ => std::future::pending().await,
    }
}

/// What servers take if they say nothing else.
const LARGEST_DOCUMENT: u64 = 16 << 20;
