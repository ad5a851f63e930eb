//! What waits in a queue, as one session knows it: listed once, and kept up by a watch.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use kombu_core::Result;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant};
use zookeeper_client::{Error as Zk, EventType};

use crate::core::{Core, follow};
use crate::error::error;
use crate::layout::{self, ENTRY};
use crate::lock::lock;

/// The queues that a session takes messages from.
#[derive(Debug)]
pub(crate) struct Views {
    views: Mutex<HashMap<Arc<str>, Arc<View>>>,
    /// Makes one at a time.
    making: tokio::sync::Mutex<()>,
    /// Changes when a message comes anywhere.
    pub(crate) arrivals: Arc<watch::Sender<()>>,
}

/// A queue.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) path: String,
    names: Arc<Mutex<BTreeSet<String>>>,
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
    pub(crate) async fn get(&self, core: &Core, queue: &Arc<str>) -> Result<Arc<View>> {
        let find = || lock(&self.views).get(queue).map(Arc::clone);
        if let Some(view) = find() {
            view.touch();
            return Ok(view);
        }
        let _making = self.making.lock().await;
        if let Some(view) = find() {
            return Ok(view);
        }
        let view = Arc::new(View::make(core, queue, &self.arrivals).await?);
        lock(&self.views).insert(Arc::clone(queue), Arc::clone(&view));
        Ok(view)
    }

    /// Adds a message that went back to its queue, of which the server's notice may come later.
    pub(crate) fn returned(&self, queue: &str, entry: &str) {
        if let Some(view) = lock(&self.views).get(queue) {
            view.put_back([entry.to_owned()]);
            self.arrivals.send_replace(());
        }
    }

    /// Keeps the view of a queue for as long as it is consumed.
    pub(crate) async fn begin(&self, core: &Core, queue: &Arc<str>) -> Result<()> {
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
        core: &Core,
        queue: &Arc<str>,
        arrivals: &Arc<watch::Sender<()>>,
    ) -> Result<Self> {
        let path = layout::queue(queue)?;
        let names = Arc::new(Mutex::new(BTreeSet::new()));
        let watcher = core.watch(&path).await?;
        let following = tokio::spawn(follow(watcher, {
            let (names, arrivals) = (Arc::clone(&names), Arc::clone(arrivals));
            move |event, path| {
                let Some(name) = entry_of(path) else { return };
                match event {
                    EventType::NodeCreated => {
                        lock(&names).insert(name.to_owned());
                        arrivals.send_replace(());
                    }
                    EventType::NodeDeleted => {
                        lock(&names).remove(name);
                    }
                    _ => {}
                }
            }
        }))
        .abort_handle();
        let used = Mutex::new(Instant::now());
        let view = Self { path, names, consumed: AtomicBool::new(false), used, following };
        view.refresh(core).await?;
        Ok(view)
    }

    /// Adds what is in the queue now. What is gone again meanwhile turns out when it is taken.
    pub(crate) async fn refresh(&self, core: &Core) -> Result<()> {
        match core.ask(core.client.list_children(&self.path)).await? {
            Ok(found) => {
                lock(&self.names).extend(found.into_iter().filter(|name| name.starts_with(ENTRY)));
                Ok(())
            }
            Err(Zk::NoNode) => Ok(()),
            Err(refused) => Err(error(refused)),
        }
    }

    /// Takes the first names out.
    pub(crate) fn pop(&self, count: usize) -> Vec<String> {
        let mut names = lock(&self.names);
        std::iter::from_fn(|| names.pop_first()).take(count).collect()
    }

    /// Puts names back that were not taken after all.
    pub(crate) fn put_back(&self, names: impl IntoIterator<Item = String>) {
        lock(&self.names).extend(names);
    }

    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// The name of a message, if the path is that of one.
fn entry_of(path: &str) -> Option<&str> {
    let (_, name) = path.rsplit_once('/')?;
    name.starts_with(ENTRY).then_some(name)
}

/// How long a view stays that no consumer needs.
const UNUSED: Duration = Duration::from_secs(60);
