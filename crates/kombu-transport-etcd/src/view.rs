//! The queues that a link takes messages from: listed once, and kept up by watches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use etcd_client::{EventType, GetOptions, WatchStream};
use kombu_core::Result;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, timeout};

use crate::core::Core;
use crate::error::error;
use crate::layout::read_entry;
use crate::lock::lock;
use crate::waiting::Waiting;

/// The queues of a link.
#[derive(Debug)]
pub(crate) struct Views {
    views: Mutex<HashMap<Arc<str>, Arc<View>>>,
    /// Makes one at a time.
    making: tokio::sync::Mutex<()>,
    /// Changes when a message can be taken anywhere.
    pub(crate) arrivals: Arc<watch::Sender<()>>,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct View {
    waiting: Arc<Mutex<Waiting>>,
    /// The revision up to which changes are known.
    revision: watch::Receiver<i64>,
    consumed: AtomicBool,
    used: Mutex<Instant>,
    following: AbortHandle,
}

impl Views {
    pub(crate) fn new() -> Self {
        Self {
            views: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            arrivals: Arc::new(watch::Sender::new(())),
        }
    }

    /// The view of a queue, made if there is none.
    pub(crate) async fn get(&self, core: &Arc<Core>, queue: &Arc<str>) -> Result<Arc<View>> {
        if let Some(view) = self.find(queue) {
            *lock(&view.used) = Instant::now();
            return Ok(view);
        }
        let _making = self.making.lock().await;
        if let Some(view) = self.find(queue) {
            return Ok(view);
        }
        let view = Arc::new(View::make(core, queue, &self.arrivals).await?);
        lock(&self.views).insert(Arc::clone(queue), Arc::clone(&view));
        Ok(view)
    }

    /// The view of a queue, if there is one.
    pub(crate) fn find(&self, queue: &str) -> Option<Arc<View>> {
        lock(&self.views).get(queue).map(Arc::clone)
    }

    /// Keeps the view of a queue for as long as it is consumed.
    pub(crate) async fn begin(&self, core: &Arc<Core>, queue: &Arc<str>) -> Result<()> {
        self.get(core, queue).await?.consumed.store(true, Ordering::Release);
        Ok(())
    }

    /// Drops the view of a queue.
    pub(crate) fn drop(&self, queue: &str) {
        lock(&self.views).remove(queue);
    }

    /// Drops the views that nobody has used for a while.
    pub(crate) fn prune(&self) {
        lock(&self.views).retain(|_, view| {
            view.consumed.load(Ordering::Acquire) || lock(&view.used).elapsed() < UNUSED
        });
    }
}

impl View {
    async fn make(
        core: &Arc<Core>,
        queue: &Arc<str>,
        arrivals: &Arc<watch::Sender<()>>,
    ) -> Result<Self> {
        let index = core.keys.index(queue);
        let listed = core.get(index.clone(), GetOptions::new().with_prefix()).await?;
        let revision = listed.header().map_or(0, |header| header.revision());
        let mut waiting = Waiting::default();
        waiting.revision = revision;
        for kv in listed.kvs() {
            if let Some((entry, rank, id)) = read_entry(&index, kv.key()) {
                waiting.put(entry, rank, id, kv.create_revision(), kv.value());
            }
        }
        let stream = core.watch(index.clone(), revision + 1).await?;
        let waiting = Arc::new(Mutex::new(waiting));
        let (reached, known) = watch::channel(revision);
        let follower = Follower {
            index,
            waiting: Arc::clone(&waiting),
            reached,
            arrivals: Arc::clone(arrivals),
        };
        let core = Arc::downgrade(core);
        let following = tokio::spawn(async move {
            let why = follower.run(stream).await;
            if let Some(core) = core.upgrade() {
                core.lose(&why);
            }
        })
        .abort_handle();
        let (consumed, used) = (AtomicBool::new(false), Mutex::new(Instant::now()));
        Ok(Self { waiting, revision: known, consumed, used, following })
    }

    pub(crate) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.waiting)
    }

    /// Waits until a change of this queue that was made here is known.
    pub(crate) async fn reach(&self, revision: i64) {
        let mut known = self.revision.clone();
        let reached = known.wait_for(|known| *known >= revision);
        // Its notice is on its way. Without it nothing is wrong but the order.
        let _late = timeout(NOTICE, reached).await;
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// Reads the changes of a queue.
struct Follower {
    index: String,
    waiting: Arc<Mutex<Waiting>>,
    reached: watch::Sender<i64>,
    arrivals: Arc<watch::Sender<()>>,
}

impl Follower {
    /// Goes on until the stream ends, and says why.
    async fn run(self, mut stream: WatchStream) -> String {
        loop {
            let answer = match stream.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return "the server ended a watch".to_owned(),
                Err(refused) => return error(refused).to_string(),
            };
            if answer.canceled() {
                return format!("the server cancelled a watch: {}", answer.cancel_reason());
            }
            let free = {
                let mut waiting = lock(&self.waiting);
                for event in answer.events() {
                    let Some(kv) = event.kv() else { continue };
                    let Some((entry, rank, id)) = read_entry(&self.index, kv.key()) else {
                        continue;
                    };
                    match event.event_type() {
                        EventType::Put => {
                            waiting.put(entry, rank, id, kv.create_revision(), kv.value());
                        }
                        EventType::Delete => waiting.delete(entry, id),
                    }
                    waiting.revision = waiting.revision.max(kv.mod_revision());
                }
                self.reached.send_replace(waiting.revision);
                !waiting.is_empty()
            };
            if free {
                self.arrivals.send_replace(());
            }
        }
    }
}

/// How long a view stays that no consumer needs.
const UNUSED: Duration = Duration::from_secs(60);

/// How long a notice may be on its way.
const NOTICE: Duration = Duration::from_secs(2);
