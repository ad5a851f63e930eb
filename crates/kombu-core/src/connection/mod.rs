//! The connection: one handle over all brokers of its URLs, which heals by itself.

mod builder;
mod lease;
mod link;
mod rounds;
mod supervisor;
mod topology;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use builder::ConnectionBuilder;
pub(crate) use builder::Settings;
pub(crate) use lease::Lease;
pub use link::ConnectionState;
pub(crate) use link::{Shared, lock};
pub use topology::Entity;

use crate::channel::Channel;
use crate::consumer::{ConsumerBuilder, Delivery};
use crate::entity::{Exchange, IntoQueues, Queue};
use crate::error::Result;
use crate::producer::Producer;
use crate::transport::{Capabilities, QueueInfo, ServerInfo};

/// A connection to whichever of its brokers answers. Cheap to clone; all clones are one link.
///
/// When the link breaks, the connection makes a new one to the same or the next broker, declares
/// again what was declared through it, and its consumers go on. Dropping the last handle (of
/// connections, channels, producers and consumers) ends it in the background; [`close`](Self::close)
/// ends it and waits.
///
/// # Kombu
///
/// `kombu.Connection`. Every URL stands alone: nothing of one leaks into another, and each round
/// tries all of them.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<Handle>,
    channel: Channel,
}

/// What all handles of one connection share; the last of them ends the link.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.request_close();
    }
}

impl Connection {
    /// Starts to configure a connection to one or more URLs. Nothing is checked nor connected
    /// until [`ConnectionBuilder::build`] or [`ConnectionBuilder::connect`].
    pub fn builder(urls: impl crate::url::IntoUrls) -> ConnectionBuilder {
        ConnectionBuilder::new(urls)
    }

    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let handle = Arc::new(Handle { shared });
        Self { channel: Channel::new(Arc::clone(&handle)), handle }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Connects now, if there is no link. A connection also connects at its first use.
    ///
    /// It tries as long as [`ConnectionBuilder::retry`] allows, while the calls that connect at
    /// their first use wait for their own deadline.
    ///
    /// # Errors
    ///
    /// What kept each of the brokers from answering, in one error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: connecting goes on in the background.
    pub async fn connect(&self) -> Result<()> {
        let settings = &self.shared().settings;
        let now = Instant::now();
        // The policy ends it; the last of its attempts may end after the policy's own deadline.
        let patience = settings.retry.total().unwrap_or(FOREVER).min(FOREVER);
        self.shared().link(now + patience + settings.operation_timeout).await.map(drop)
    }

    /// A new channel of its own. Most programs need none: see [`producer`](Self::producer) and
    /// [`consumer`](Self::consumer).
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::new(Arc::clone(&self.handle))
    }

    /// Another connection with the same URLs, transports and settings. It is not connected yet, and
    /// shares nothing with this one: a clone is the same connection, this is not.
    ///
    /// # Kombu
    ///
    /// `Connection.clone`.
    #[must_use]
    pub fn another(&self) -> Self {
        let Shared { urls, registry, settings, .. } = &**self.shared();
        Self::start(Arc::new(Shared::new(urls.clone(), registry.clone(), settings.clone())))
    }

    /// Declares an exchange or queue unless the present link has it already, and says whether it
    /// did. See [`Channel::maybe_declare`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the entity may have been declared.
    pub async fn maybe_declare(&self, entity: impl Into<Entity> + Send) -> Result<bool> {
        self.channel.maybe_declare(entity).await
    }

    /// A producer with a channel of its own, connected.
    ///
    /// # Errors
    ///
    /// Those of connecting.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn producer(&self) -> Result<Producer> {
        let channel = self.channel();
        channel.open().await?;
        Ok(Producer::new(channel))
    }

    /// Starts to configure a consumer of one queue or several.
    pub fn consumer(&self, queues: impl IntoQueues) -> ConsumerBuilder {
        ConsumerBuilder::new(self.channel(), queues.into_queues())
    }

    /// Declares an exchange. See [`Channel::declare_exchange`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the exchange may have been declared.
    pub async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.channel.declare_exchange(exchange).await
    }

    /// Declares a queue with its bindings and their exchanges. See [`Channel::declare_queue`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been declared.
    pub async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        self.channel.declare_queue(queue).await
    }

    /// Takes one message, if one waits. See [`Channel::get`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn get(&self, queue: &str) -> Result<Option<Delivery>> {
        self.channel.get(queue).await
    }

    /// Drops the messages that wait in a queue, and says how many.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been purged.
    pub async fn purge(&self, queue: &str) -> Result<u64> {
        self.channel.purge(queue).await
    }

    /// How many messages wait in a queue, as far as the broker knows.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn size(&self, queue: &str) -> Result<u64> {
        self.channel.size(queue).await
    }

    /// Deletes a queue, and says how many messages went with it.
    ///
    /// # Errors
    ///
    /// Those of the link; a missing queue is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been deleted.
    pub async fn delete_queue(&self, queue: &str) -> Result<u64> {
        self.channel.delete_queue(queue).await
    }

    /// Asks the broker for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// Those of connecting, and `ConnectionLost`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn ping(&self) -> Result<Duration> {
        let link = self.shared().link(self.deadline()).await?;
        let asked = Instant::now();
        tokio::time::timeout_at(self.deadline(), link.raw.ping())
            .await
            .map_err(|_| self.shared().timed_out("ping"))??;
        Ok(asked.elapsed())
    }

    /// What the broker says it is.
    ///
    /// # Errors
    ///
    /// Those of connecting.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn server(&self) -> Result<ServerInfo> {
        Ok(self.shared().link(self.deadline()).await?.raw.server())
    }

    /// What the broker can do.
    ///
    /// # Errors
    ///
    /// Those of connecting.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn capabilities(&self) -> Result<Capabilities> {
        Ok(self.shared().link(self.deadline()).await?.raw.capabilities())
    }

    /// How the link is now.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.shared().state()
    }

    /// Waits for the state to become one that `wanted` accepts, and returns it. A state that
    /// lasts for a moment only can pass unseen.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_state(
        &self,
        wanted: impl Fn(&ConnectionState) -> bool + Send,
    ) -> ConnectionState {
        self.shared().wait_for_state(wanted).await
    }

    /// Ends the connection: settlements are sent, channels and the link are closed. All handles
    /// answer `Closed` from now on. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// Those of the link; it is gone all the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: closing goes on in the background.
    pub async fn close(&self) -> Result<()> {
        self.shared().close().await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared().settings.operation_timeout
    }
}

/// As good as endless, and a time that can be added to now.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("urls", &self.shared().urls)
            .field("state", &self.state())
            .finish()
    }
}
