//! A connection: one link for everything but publishing, one for publishing.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, RawChannel, RawConnection, ServerInfo};
use kombu_core::{Error, ErrorKind, Result};

use crate::blocked::Blocked;
use crate::channel::AmqpChannel;
use crate::delays::Delays;
use crate::driver::PublishLink;
use crate::driver::lapin::LapinLink;
use crate::fate::Fate;
use crate::options::Driver;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::transport::capabilities;

/// A connection. Dropping it, and its channels, ends it at once.
pub(crate) struct AmqpConnection {
    shared: Arc<Shared>,
}

/// What a connection and its channels share.
pub(crate) struct Shared {
    settings: Settings,
    fate: Arc<Fate>,
    /// The link for new channels. It is replaced when its channel numbers run out, and lives on
    /// with the channels that it has.
    control: Mutex<Arc<LapinLink>>,
    renewal: tokio::sync::Mutex<()>,
    publish: tokio::sync::Mutex<Option<Arc<dyn PublishLink>>>,
    blocked: Arc<Blocked>,
    delays: Delays,
    tasks: Tasks,
}

impl AmqpConnection {
    pub(crate) async fn connect(settings: Settings) -> Result<Self> {
        let link = Arc::new(LapinLink::connect(&settings, "consumer", None).await?);
        let shared = Arc::new(Shared {
            settings,
            fate: Arc::new(Fate::new()),
            control: Mutex::new(Arc::clone(&link)),
            renewal: tokio::sync::Mutex::default(),
            publish: tokio::sync::Mutex::default(),
            blocked: Arc::default(),
            delays: Delays::default(),
            tasks: Tasks::default(),
        });
        shared.watch(&(link as Arc<dyn PublishLink>));
        Ok(Self { shared })
    }
}

#[async_trait]
impl RawConnection for AmqpConnection {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.server())
    }

    fn server(&self) -> ServerInfo {
        self.shared.control().server().clone()
    }

    async fn open_channel(&self) -> Result<Arc<dyn RawChannel>> {
        Ok(Arc::new(self.shared.open_channel().await?))
    }

    async fn ping(&self) -> Result<()> {
        let answered = self.shared.control().ping().await;
        answered.map_err(|error| {
            self.shared.fate.decide(error.duplicate());
            self.shared.fate.reason().unwrap_or(error).during("ping the broker")
        })
    }

    async fn lost(&self) -> Error {
        self.shared.fate.decided().await
    }

    async fn close(&self) -> Result<()> {
        if !self.shared.fate.decide(Error::closed("connection")) {
            return Ok(());
        }
        let publish = self.shared.publish.lock().await.take();
        if let Some(link) = publish {
            link.close().await;
        }
        let closed = self.shared.control().close().await;
        self.shared.tasks.end().await;
        closed
    }
}

impl fmt::Debug for AmqpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConnection")
            .field("broker", &self.shared.settings.target.address())
            .field("vhost", &self.shared.settings.vhost)
            .field("lost", &self.shared.fate.reason())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    pub(crate) fn blocked(&self) -> &Arc<Blocked> {
        &self.blocked
    }

    /// What was declared for delayed messages.
    pub(crate) fn delays(&self) -> &Delays {
        &self.delays
    }

    pub(crate) async fn open_channel(self: &Arc<Self>) -> Result<AmqpChannel> {
        if let Some(reason) = self.fate.reason() {
            return Err(reason.during("open a channel"));
        }
        let link = self.control_with_room().await?;
        AmqpChannel::open(Arc::clone(self), link).await
    }

    /// Opens a further link, for a use of its own.
    pub(crate) async fn connect_control(&self, role: &str) -> Result<LapinLink> {
        LapinLink::connect(&self.settings, role, None).await
    }

    /// The link that publishes; opened at the first use.
    pub(crate) async fn publish_link(&self) -> Result<Arc<dyn PublishLink>> {
        let mut slot = self.publish.lock().await;
        if let Some(reason) = self.fate.reason() {
            return Err(reason);
        }
        if let Some(link) = slot.as_ref().filter(|link| !link.is_used_up()) {
            return Ok(Arc::clone(link));
        }
        let link = self.connect_publish().await?;
        self.watch(&link);
        *slot = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Asks, not too often, whether the broker is blocked.
    pub(crate) fn suspect_block(&self) {
        if self.blocked.wants_probe() {
            self.tasks.spawn(Arc::clone(&self.blocked).probe(self.settings.clone()));
        }
    }

    fn control(&self) -> Arc<LapinLink> {
        Arc::clone(&self.control.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn control_with_room(&self) -> Result<Arc<LapinLink>> {
        let link = self.control();
        if !link.is_used_up() {
            return Ok(link);
        }
        let _one_at_a_time = self.renewal.lock().await;
        let link = self.control();
        if !link.is_used_up() {
            return Ok(link);
        }
        let link = Arc::new(self.connect_control("consumer").await?);
        self.watch(&(Arc::clone(&link) as Arc<dyn PublishLink>));
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&link);
        Ok(link)
    }

    #[cfg(feature = "amqprs")]
    async fn connect_publish(&self) -> Result<Arc<dyn PublishLink>> {
        use crate::driver::amqprs::{AmqprsLink, unfit};
        let control = self.control();
        if self.settings.options.driver == Driver::Auto {
            match unfit(&self.settings, &control) {
                None => return Ok(Arc::new(AmqprsLink::connect(&self.settings, &control).await?)),
                Some(reason) => tracing::debug!(reason, "amqprs does not fit, lapin publishes"),
            }
        }
        self.connect_publish_lapin().await
    }

    #[cfg(not(feature = "amqprs"))]
    async fn connect_publish(&self) -> Result<Arc<dyn PublishLink>> {
        let (Driver::Auto | Driver::Lapin) = self.settings.options.driver;
        self.connect_publish_lapin().await
    }

    async fn connect_publish_lapin(&self) -> Result<Arc<dyn PublishLink>> {
        let blocked = Some(Arc::clone(&self.blocked));
        Ok(Arc::new(LapinLink::connect(&self.settings, "publisher", blocked).await?))
    }

    /// The end of a link is the end of the connection, and the other way round.
    fn watch(&self, link: &Arc<dyn PublishLink>) {
        let fate = Arc::clone(&self.fate);
        let link_fate = Arc::clone(link.fate());
        let link: Weak<dyn PublishLink> = Arc::downgrade(link);
        self.tasks.spawn(async move {
            tokio::select! {
                reason = link_fate.decided() => {
                    // A link that was closed from here, for instance because another replaced it.
                    if reason.kind() != ErrorKind::Closed {
                        fate.decide(reason);
                    }
                }
                reason = fate.decided() => {
                    if reason.kind() != ErrorKind::Closed && let Some(link) = link.upgrade() {
                        link.cut();
                    }
                }
            }
        });
    }
}
