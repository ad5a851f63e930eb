//! The channel: verbs on a broker, on a raw channel that is opened again when it breaks.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::{Entity, Handle, Lease, Shared, lock};
use crate::consumer::{BodyContext, Delivery};
use crate::entity::{Binding, Exchange, Queue};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::transport::{
    BindQueue, DeleteExchange, DeleteQueue, ExchangeBinding, Get, QueueInfo, RawChannel,
};

/// A sequence of calls on a broker. Cheap to clone; clones share it.
///
/// It opens when it is first used, and again when the broker closed it or the link was replaced.
/// A call that failed with the link is tried again until the operation deadline
/// ([`ConnectionBuilder::operation_timeout`](crate::ConnectionBuilder::operation_timeout)).
///
/// # Kombu
///
/// `kombu.transport.base.StdChannel` and the methods of bound entities.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    handle: Arc<Handle>,
    lease: Mutex<Option<Arc<Lease>>>,
    /// The one attempt to open it that is under way. Whoever waits for it drives it: a caller that
    /// is not polled holds up nobody.
    opening: Mutex<Option<Opening>>,
}

/// An attempt to open a channel, shared by all who need it.
type Opening = SharedFuture<BoxFuture<'static, Result<Arc<Lease>, Arc<Error>>>>;

impl Channel {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self(Arc::new(Inner { handle, lease: Mutex::new(None), opening: Mutex::new(None) }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.handle.shared
    }

    /// Opens the channel now; it also opens at its first use.
    ///
    /// # Errors
    ///
    /// Those of connecting, `Timeout`, and `PreconditionFailed` when the broker allows no more.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn open(&self) -> Result<()> {
        self.lease(self.deadline()).await.map(drop)
    }

    /// The transport's channel behind this one, for what only one transport can do. It is that of
    /// the present link: do not keep it, and nothing done with it is done again on the next link.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn raw(&self) -> Result<Arc<dyn RawChannel>> {
        self.lease(self.deadline()).await.map(|lease| Arc::clone(&lease.raw))
    }

    /// Declares an exchange, or with [`Exchange::passive`] checks that it exists. The default
    /// exchange, the broker's own (`amq.…`) and those with [`Exchange::no_declare`] are left alone.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` when it exists with other properties, `NotFound` when passive and
    /// missing, `Unsupported` for a type that the broker does not have.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the exchange may have been declared.
    pub async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        if !exchange.is_declared() {
            return Ok(());
        }
        self.call("declare exchange", |raw| async move { raw.declare_exchange(exchange).await })
            .await
            .map_err(|error| error.with("exchange", exchange.name()))?;
        self.shared().topology.add_exchange(exchange);
        Ok(())
    }

    /// Deletes an exchange; a missing one is no error.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` with `if_unused` while something is bound to it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the exchange may have been deleted.
    pub async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()> {
        self.shared().topology.remove_exchange(&delete.name);
        self.call("delete exchange", |raw| async move { raw.delete_exchange(delete).await })
            .await
            .map_err(|error| error.with("exchange", &delete.name))
    }

    /// Binds the exchange `destination` to the exchange of `binding`, so that it receives from it.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `Unsupported` where brokers have no such bindings.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the binding may have been made.
    pub async fn bind_exchange(&self, destination: &Exchange, binding: &Binding) -> Result<()> {
        let request = ExchangeBinding::new(destination.name(), binding.clone());
        let request = &request;
        self.call("bind exchange", |raw| async move { raw.bind_exchange(request).await })
            .await
            .map_err(|error| {
                error.with("exchange", destination.name()).with("source", binding.exchange().name())
            })?;
        self.shared().topology.add_exchange_binding(destination.name(), binding);
        Ok(())
    }

    /// Takes such a binding away; a missing one is no error.
    ///
    /// # Errors
    ///
    /// As for binding.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the binding may be gone.
    pub async fn unbind_exchange(&self, destination: &Exchange, binding: &Binding) -> Result<()> {
        self.shared().topology.remove_exchange_binding(destination.name(), binding);
        let request = ExchangeBinding::new(destination.name(), binding.clone());
        let request = &request;
        self.call("unbind exchange", |raw| async move { raw.unbind_exchange(request).await })
            .await
            .map_err(|error| error.with("exchange", destination.name()))
    }

    /// Declares a queue, then its bindings and their exchanges; or with [`Queue::passive`] checks
    /// that it exists. A queue with [`Queue::no_declare`] is left alone, and so are its bindings.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` when it exists with other properties, `NotFound` when passive and
    /// missing, `ResourceLocked` for another connection's exclusive queue.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; part of it may have been declared.
    pub async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        if !queue.is_declared() {
            return Ok(QueueInfo::new(queue.name(), 0, 0));
        }
        let info = self
            .call("declare queue", |raw| declare_queue(raw, queue))
            .await
            .map_err(|error| error.with("queue", queue.name()))?;
        self.shared().topology.remember(queue);
        Ok(info)
    }

    /// Deletes a queue, and says how many messages went with it; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the link.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been deleted.
    pub async fn delete_queue(&self, queue: &str) -> Result<u64> {
        self.delete_queue_if(&DeleteQueue::new(queue)).await
    }

    /// Deletes a queue under conditions.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` with `if_unused` or `if_empty` when it has consumers or messages.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been deleted.
    pub async fn delete_queue_if(&self, delete: &DeleteQueue) -> Result<u64> {
        let deleted = self
            .call("delete queue", |raw| async move { raw.delete_queue(delete).await })
            .await
            .map_err(|error| error.with("queue", &delete.name))?;
        self.shared().topology.remove_queue(&delete.name);
        Ok(deleted)
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
        self.call("purge queue", |raw| async move { raw.purge(queue).await })
            .await
            .map_err(|error| error.with("queue", queue))
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
        let passive = Queue::new(queue).passive(true);
        let passive = &passive;
        self.call("ask for the size", |raw| async move { raw.declare_queue(passive).await })
            .await
            .map(|info| info.messages)
            .map_err(|error| error.with("queue", queue))
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    ///
    /// `NotFound` when either is missing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the binding may have been made.
    pub async fn bind_queue(&self, queue: &str, binding: &Binding) -> Result<()> {
        let request = BindQueue::new(queue, binding.clone());
        let request = &request;
        self.call("bind queue", |raw| async move { raw.bind_queue(request).await }).await.map_err(
            |error| error.with("queue", queue).with("exchange", binding.exchange().name()),
        )?;
        self.shared().topology.add_queue_binding(queue, binding);
        Ok(())
    }

    /// Takes a binding away; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the link, and `NotFound` where the broker says so.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the binding may be gone.
    pub async fn unbind_queue(&self, queue: &str, binding: &Binding) -> Result<()> {
        self.shared().topology.remove_queue_binding(queue, binding);
        let request = BindQueue::new(queue, binding.clone());
        let request = &request;
        self.call("unbind queue", |raw| async move { raw.unbind_queue(request).await })
            .await
            .map_err(|error| error.with("queue", queue).with("exchange", binding.exchange().name()))
    }

    /// Takes one message if one waits. It is to be settled like any delivery, with the accept list
    /// of the connection.
    ///
    /// # Errors
    ///
    /// `NotFound` for a missing queue.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: a message taken by a dropped call goes back when the channel closes.
    pub async fn get(&self, queue: &str) -> Result<Option<Delivery>> {
        self.get_with(&Get::new(queue)).await
    }

    /// Takes one message, with `no_ack` settled by being taken.
    ///
    /// # Errors
    ///
    /// `NotFound` for a missing queue.
    ///
    /// # Cancel safety
    ///
    /// As for [`get`](Self::get); with `no_ack`, a message taken by a dropped call is lost.
    pub async fn get_with(&self, get: &Get) -> Result<Option<Delivery>> {
        self.get_in(get, BodyContext::of(&self.shared().settings)).await
    }

    /// As [`get_with`](Self::get_with), with what bodies are read with.
    pub(crate) async fn get_in(
        &self,
        get: &Get,
        context: Arc<BodyContext>,
    ) -> Result<Option<Delivery>> {
        let deadline = self.deadline();
        let lease = self.lease(deadline).await?;
        let taken = timeout_at(deadline, lease.raw.get(get))
            .await
            .map_err(|_| self.shared().timed_out("get"))
            .flatten()
            .inspect_err(|error| self.judge(&lease, error))
            .map_err(|error| error.during("get").with("queue", &get.queue))?;
        Ok(taken.map(|raw| Delivery::new(raw, get.no_ack, lease, context)))
    }

    /// Gives all unsettled messages of this channel back to their queues.
    ///
    /// # Errors
    ///
    /// Those of the link.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the messages may have been given back.
    pub async fn recover(&self) -> Result<()> {
        self.call("recover", |raw| async move { raw.recover().await }).await
    }

    /// Closes the channel: unsettled messages go back. It opens again at its next use.
    ///
    /// # Errors
    ///
    /// Those of the link.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, the channel closes in the background.
    pub async fn close(&self) -> Result<()> {
        let lease = lock(&self.0.lease).take();
        match lease {
            Some(lease) => {
                lease.bury();
                lease.raw.close().await
            }
            None => Ok(()),
        }
    }

    /// Declares an exchange or queue unless the connection has declared just the same, and says
    /// whether it did. What the broker may delete by itself, queues that are auto-deleted or expire,
    /// is always declared.
    ///
    /// # Errors
    ///
    /// Those of declaring.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the entity may have been declared.
    ///
    /// # Kombu
    ///
    /// `kombu.common.maybe_declare`, with its `retry`.
    pub async fn maybe_declare(&self, entity: impl Into<Entity> + Send) -> Result<bool> {
        let topology = &self.shared().topology;
        match entity.into() {
            Entity::Exchange(exchange) => {
                let declares = exchange.is_declared() && !topology.has_exchange(&exchange);
                self.ensure_exchange(&exchange).await.map(|()| declares)
            }
            Entity::Queue(queue) => {
                let declares = queue.is_declared() && !topology.has_queue(&queue);
                self.ensure_queue(&queue).await.map(|()| declares)
            }
        }
    }

    /// Declares an entity unless the present link has it already.
    pub(crate) async fn ensure_exchange(&self, exchange: &Exchange) -> Result<()> {
        if !exchange.is_declared() || self.shared().topology.has_exchange(exchange) {
            return Ok(());
        }
        // Boxed, here and below: a publication would keep room in its future for what it seldom does.
        Box::pin(self.declare_exchange(exchange)).await
    }

    /// As [`ensure_exchange`](Self::ensure_exchange), for a queue.
    pub(crate) async fn ensure_queue(&self, queue: &Queue) -> Result<()> {
        if !queue.is_declared() || self.shared().topology.has_queue(queue) {
            return Ok(());
        }
        Box::pin(self.declare_queue(queue)).await.map(drop)
    }

    /// The raw channel on the present link, opened if needed.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<Arc<Lease>> {
        if let Some(lease) = self.live_lease() {
            return Ok(lease);
        }
        Box::pin(timeout_at(deadline, self.open_lease()))
            .await
            .map_err(|_| self.shared().timed_out("open channel"))
            .flatten()
    }

    fn live_lease(&self) -> Option<Arc<Lease>> {
        let generation = self.shared().generation();
        lock(&self.0.lease)
            .as_ref()
            .filter(|lease| lease.generation == generation && !lease.is_dead())
            .cloned()
    }

    async fn open_lease(&self) -> Result<Arc<Lease>> {
        let opening = {
            let mut opening = lock(&self.0.opening);
            // One that somebody else finished meanwhile is as good.
            if let Some(lease) = self.live_lease() {
                return Ok(lease);
            }
            opening.get_or_insert_with(|| open(Arc::clone(self.shared())).boxed().shared()).clone()
        };
        let opened = opening.clone().await;
        let mut under_way = lock(&self.0.opening);
        if under_way.as_ref().is_some_and(|other| other.ptr_eq(&opening)) {
            *under_way = None;
            if let Ok(lease) = &opened {
                *lock(&self.0.lease) = Some(Arc::clone(lease));
            }
        }
        opened.map_err(|error| error.duplicate())
    }

    /// Stops using a raw channel that an error showed to be dead.
    pub(crate) fn judge(&self, lease: &Lease, error: &Error) {
        if error.scope() != Scope::Local || error.kind() == ErrorKind::StaleDelivery {
            lease.bury();
        }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.shared().settings.operation_timeout
    }

    /// Makes a call that may be made twice; again on a new link while the deadline allows.
    pub(crate) async fn call<T, F, Fut>(&self, operation: &'static str, call: F) -> Result<T>
    where
        F: Fn(Arc<dyn RawChannel>) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let deadline = self.deadline();
        let mut pause = FIRST_PAUSE;
        loop {
            let lease = self.lease(deadline).await.map_err(|error| error.during(operation))?;
            let answer = timeout_at(deadline, call(Arc::clone(&lease.raw))).await;
            let error = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_elapsed) => {
                    lease.bury();
                    return Err(self.shared().timed_out(operation));
                }
            };
            self.judge(&lease, &error);
            if !was_never_heard(&error) || Instant::now() + pause >= deadline {
                return Err(error.during(operation));
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("lease", &*lock(&self.0.lease)).finish()
    }
}

/// Whether a call failed for no reason of its own: the link broke, or the raw channel was gone
/// before, such as by the error of another call. A new channel may do.
pub(crate) fn was_never_heard(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::ConnectionLost | ErrorKind::StaleDelivery => true,
        ErrorKind::Closed => error.scope() == Scope::Channel && error.is_recoverable(),
        _ => false,
    }
}

/// Opens a raw channel on the present link, or the next one when it breaks meanwhile. How long they
/// wait for a link is the matter of those who wait.
async fn open(shared: Arc<Shared>) -> Result<Arc<Lease>, Arc<Error>> {
    let mut pause = FIRST_PAUSE;
    loop {
        let link = shared.link(Instant::now() + FOR_EVER).await.map_err(Arc::new)?;
        let opening = timeout(shared.settings.operation_timeout, link.raw.open_channel());
        let opened = opening.await.map_err(|_| shared.timed_out("open channel")).flatten();
        match opened {
            Ok(raw) => {
                let control = shared.control();
                return Ok(Arc::new(Lease::new(link.generation, shared.transport, raw, control)));
            }
            Err(error) if was_never_heard(&error) => {
                tracing::debug!(%error, url = %link.url, "opening the channel again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(error) => {
                return Err(Arc::new(error.during("open channel").with("url", &link.url)));
            }
        }
    }
}

/// Declares a queue in Kombu's order: exchanges of its bindings, itself, its bindings.
pub(crate) async fn declare_queue(raw: Arc<dyn RawChannel>, queue: &Queue) -> Result<QueueInfo> {
    if queue.is_passive() {
        return raw.declare_queue(queue).await;
    }
    for binding in queue.bindings() {
        if binding.exchange().is_declared() {
            raw.declare_exchange(binding.exchange())
                .await
                .map_err(|error| error.with("exchange", binding.exchange().name()))?;
        }
    }
    let info = raw.declare_queue(queue).await?;
    for binding in queue.bindings() {
        // Every queue is bound to the default exchange by its name already.
        if !binding.exchange().name().is_empty() {
            raw.bind_queue(&BindQueue::new(info.name.as_str(), binding.clone()))
                .await
                .map_err(|error| error.with("exchange", binding.exchange().name()))?;
        }
    }
    Ok(info)
}

/// Pauses between attempts on a link that just failed: the supervisor is making a new one.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Longer than any program waits, short enough to be added to a time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);
