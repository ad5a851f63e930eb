//! A connection over a store.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::transport::{Capabilities, RawChannel, RawConnection, ServerInfo};
use kombu_core::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::channel::Channel;
use crate::consumer::Consumer;
use crate::ended::Ended;
use crate::handle::VirtualChannel;
use crate::interrupt::Interrupt;
use crate::lock::lock;
use crate::options::VirtualOptions;
use crate::presence::{Member, Presence};
use crate::publish::Publisher;
use crate::refuse::Refuse;
use crate::routing::Rules;
use crate::settle::Settler;
use crate::store::{Store, StoreFeatures};
use crate::tasks::Tasks;
use crate::upkeep;

/// A connection whose broker is a [`Store`].
///
/// It runs the fetch loops, renews leases, sends publishes and settlements in batches and gives
/// back what its channels hold when they end. Dropped without [`close`](RawConnection::close), it
/// does the same in the background.
pub struct VirtualConnection<S: Store> {
    guard: Arc<Guard<S>>,
}

impl<S: Store> VirtualConnection<S> {
    /// Starts the work of a connection over a store that is connected.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(
        store: Arc<S>,
        options: VirtualOptions,
        capabilities: Capabilities,
    ) -> Arc<dyn RawConnection> {
        let (control, inbox) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(store, options, capabilities, control));
        link.tasks_of_its_own();
        tokio::spawn(keep(Arc::clone(&link), inbox));
        Arc::new(Self { guard: Arc::new(Guard(link)) })
    }

    fn link(&self) -> &Arc<Link<S>> {
        &self.guard.0
    }
}

#[async_trait]
impl<S: Store> RawConnection for VirtualConnection<S> {
    fn capabilities(&self) -> Capabilities {
        self.link().refuse.promised
    }

    fn server(&self) -> ServerInfo {
        self.link().store.server()
    }

    async fn open_channel(&self) -> Result<Arc<dyn RawChannel>> {
        let link = self.link();
        link.alive()?;
        let mut channels = lock(&link.channels);
        if link.closing.load(Ordering::Acquire) {
            return Err(Error::closed("connection"));
        }
        channels.retain(|_, channel| channel.strong_count() > 0);
        if channels.len() >= MOST_CHANNELS {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the connection has {MOST_CHANNELS} channels, which is the most"),
            ));
        }
        let number = link.next_channel.fetch_add(1, Ordering::Relaxed);
        let channel = Arc::new(Channel::new(Arc::clone(link), number));
        channels.insert(number, Arc::downgrade(&channel));
        Ok(Arc::new(VirtualChannel::new(channel, Arc::clone(&self.guard))))
    }

    async fn ping(&self) -> Result<()> {
        let link = Arc::clone(self.link());
        link.alive()?;
        self.link().call(async move { link.store.ping().await }).await
    }

    async fn lost(&self) -> Error {
        self.link().ended.wait().await
    }

    async fn close(&self) -> Result<()> {
        let link = self.link();
        let mut over = link.over.subscribe();
        // Without a keeper the runtime that had it is gone, and all tasks with it.
        if link.control.send(Control::Close).is_err() && !*over.borrow() {
            link.ended.end(Error::closed("connection"));
            return Ok(());
        }
        match timeout(CLOSE_LIMIT, over.wait_for(|over| *over)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the broker did not answer within {CLOSE_LIMIT:?}"),
            )
            .during("close connection")),
        }
    }
}

impl<S: Store> fmt::Debug for VirtualConnection<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualConnection")
            .field("store", &self.link().store)
            .finish_non_exhaustive()
    }
}

/// Closes the connection when its last handle is dropped: those of its channels count.
pub(crate) struct Guard<S: Store>(Arc<Link<S>>);

impl<S: Store> Drop for Guard<S> {
    fn drop(&mut self) {
        let _no_keeper = self.0.control.send(Control::Close);
    }
}

/// What the parts of a connection share.
pub(crate) struct Link<S: Store> {
    pub(crate) store: Arc<S>,
    pub(crate) features: StoreFeatures,
    pub(crate) options: VirtualOptions,
    pub(crate) refuse: Refuse,
    pub(crate) presence: Arc<Presence>,
    pub(crate) member: Member,
    pub(crate) ended: Arc<Ended>,
    pub(crate) tasks: Tasks,
    pub(crate) publisher: Publisher,
    pub(crate) settler: Settler<S::Receipt>,
    pub(crate) control: mpsc::UnboundedSender<Control<S>>,
    pub(crate) channels: Mutex<HashMap<u64, Weak<Channel<S>>>>,
    /// How many consumers of this connection each queue has.
    consuming: Mutex<HashMap<Arc<str>, usize>>,
    /// Ends the upkeep.
    pub(crate) stop: Arc<Interrupt>,
    next_channel: AtomicU64,
    /// Set, with `channels` locked, when no more of them may be opened.
    closing: AtomicBool,
    /// Set when everything is given back and the store is closed.
    over: watch::Sender<bool>,
}

/// What handles ask of the connection's keeper, since dropping cannot wait.
pub(crate) enum Control<S: Store> {
    /// Close the connection.
    Close,
    /// Close a channel that no handle holds any more.
    CloseChannel(Arc<Channel<S>>),
    /// Clear up after a consumer that ended by itself.
    Bury(Arc<Channel<S>>, Arc<Consumer<S::Receipt>>),
}

impl<S: Store> Link<S> {
    fn new(
        store: Arc<S>,
        options: VirtualOptions,
        promised: Capabilities,
        control: mpsc::UnboundedSender<Control<S>>,
    ) -> Self {
        let presence = store.presence().unwrap_or_default();
        let ended = Arc::new(Ended::new());
        Self {
            features: store.features(),
            options,
            refuse: Refuse { transport: store.transport(), promised },
            member: presence.join(),
            presence,
            tasks: Tasks::new(Arc::clone(&ended)),
            ended,
            publisher: Publisher::new(),
            settler: Settler::new(),
            control,
            channels: Mutex::new(HashMap::new()),
            consuming: Mutex::new(HashMap::new()),
            stop: Arc::new(Interrupt::new()),
            next_channel: AtomicU64::new(1),
            closing: AtomicBool::new(false),
            over: watch::Sender::new(false),
            store,
        }
    }

    fn tasks_of_its_own(self: &Arc<Self>) {
        if !self.features.immediate {
            self.tasks.spawn(crate::publish::run(Arc::clone(self)));
            self.tasks.spawn(crate::settle::run(Arc::clone(self)));
        }
        if let Some(lease) = self.features.lease {
            self.tasks.spawn(upkeep::renew(Arc::clone(self), lease));
        }
        if let Some(pause) = self.features.maintenance {
            self.tasks.spawn(upkeep::maintain(Arc::clone(self), pause));
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            implicit_queues: self.features.implicit_queues,
            native_exchanges: self.features.native_exchanges,
        }
    }

    /// Fails when the connection has ended.
    pub(crate) fn alive(&self) -> Result<()> {
        self.ended.reason().map_or(Ok(()), Err)
    }

    /// Runs calls to the store to their end, even when the caller does not wait for it.
    pub(crate) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let result = if self.features.immediate {
            work.await
        } else {
            let (answer, result) = oneshot::channel();
            self.tasks.spawn(async move {
                let _nobody_waits = answer.send(work.await);
            });
            result.await.unwrap_or_else(|_| Err(Error::lost("the call was given up")))
        };
        result.inspect_err(|error| self.judge(error))
    }

    /// Ends the connection if an error says so.
    pub(crate) fn judge(&self, error: &Error) {
        if error.scope() == kombu_core::Scope::Connection {
            self.lose(error);
        }
    }

    pub(crate) fn lose(&self, reason: &Error) {
        if self.ended.end(reason.duplicate()) {
            tracing::warn!(transport = self.refuse.transport, error = %reason, "connection lost");
            for channel in self.channels() {
                channel.ended.end(reason.duplicate());
                channel.wake();
            }
        }
    }

    pub(crate) fn channels(&self) -> Vec<Arc<Channel<S>>> {
        lock(&self.channels).values().filter_map(Weak::upgrade).collect()
    }

    /// Counts a consumer of a queue; the first one is announced to the store.
    pub(crate) async fn begin_consuming(&self, queue: &Arc<str>) -> Result<()> {
        let first = {
            let mut consuming = lock(&self.consuming);
            let count = consuming.entry(Arc::clone(queue)).or_default();
            *count += 1;
            *count == 1
        };
        if !first {
            return Ok(());
        }
        let begun = self.store.begin_consuming(queue).await;
        if begun.is_err() {
            self.count_down(queue);
        }
        begun
    }

    pub(crate) async fn end_consuming(&self, queue: &Arc<str>) {
        if self.count_down(queue) {
            self.store.end_consuming(queue).await;
        }
    }

    fn count_down(&self, queue: &Arc<str>) -> bool {
        let mut consuming = lock(&self.consuming);
        let Some(count) = consuming.get_mut(queue) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            consuming.remove(queue);
        }
        last
    }

    /// Ends everything: channels, exclusive queues, upkeep, the store.
    async fn shut_down(self: &Arc<Self>) {
        let channels: Vec<_> = {
            let channels = lock(&self.channels);
            self.closing.store(true, Ordering::Release);
            channels.values().filter_map(Weak::upgrade).collect()
        };
        join_all(channels.iter().map(|channel| channel.shut_down())).await;
        for queue in self.presence.owned_by(self.member) {
            if let Err(error) = crate::declare::remove_queue(self, &queue).await {
                tracing::warn!(%error, queue = &*queue, "an exclusive queue was not deleted");
            }
        }
        self.stop.fire();
        self.publisher.stop();
        self.settler.stop();
        self.tasks.all_ended().await;
        if let Err(error) = self.store.close().await {
            tracing::debug!(%error, "the store did not close well");
        }
        self.ended.end(Error::closed("connection"));
        self.over.send_replace(true);
    }
}

/// The keeper of a connection: does what handles cannot wait for, and ends it.
async fn keep<S: Store>(link: Arc<Link<S>>, mut inbox: mpsc::UnboundedReceiver<Control<S>>) {
    let store = Arc::clone(&link.store);
    let lost = store.lost();
    tokio::pin!(lost);
    loop {
        let control = tokio::select! {
            control = inbox.recv() => control,
            error = &mut lost => {
                link.lose(&error);
                break;
            }
            _reason = link.ended.wait() => break,
        };
        match control {
            Some(Control::CloseChannel(channel)) => {
                link.tasks.spawn(async move { channel.shut_down().await });
            }
            Some(Control::Bury(channel, consumer)) => {
                link.tasks.spawn(async move { channel.bury(&consumer).await });
            }
            Some(Control::Close) | None => break,
        }
    }
    link.shut_down().await;
}

/// As AMQP has it.
const MOST_CHANNELS: usize = 65_535;

/// How long closing may take before it is left to the background.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
