//! A session with ZooKeeper, and what belongs to it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use kombu_core::{Error, ErrorKind, Result, Scope};
use kombu_virtual::VirtualOptions;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use uuid::Uuid;
use zookeeper_client::{
    AddWatchMode, Client, CreateMode, Error as Zk, EventType, PersistentWatcher, SessionState,
};

use crate::error::error;
use crate::estates::Estates;
use crate::layout::{CLAIMS, EXCHANGES, OWNERS, ROOT};
use crate::lock::lock;
use crate::options::Access;
use crate::settings::Settings;

/// One session. It is over when its link is: the next one has a new session.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) client: Client,
    pub(crate) access: Access,
    pub(crate) layer: VirtualOptions,
    /// Names this session among the owners of claims.
    pub(crate) owner: String,
    /// Told when another owner may have died.
    pub(crate) deaths: Notify,
    /// The most messages that wait in a queue.
    queue_limit: u64,
    /// Queues that are known to have a node, and when it was looked at.
    queues: Mutex<HashMap<Arc<str>, Instant>>,
    lost: watch::Sender<Option<String>>,
    estates: Arc<Estates>,
    tasks: Mutex<JoinSet<()>>,
}

impl Core {
    /// Connects, and announces this owner.
    pub(crate) async fn connect(settings: &Settings, estates: Arc<Estates>) -> Result<Arc<Self>> {
        let connecting = Self::connect_at_last(settings, estates);
        timeout(settings.connect_timeout, connecting).await.unwrap_or_else(|_elapsed| {
            Err(Error::lost("no server of the ensemble has answered in time")
                .with("servers", &settings.servers))
        })
    }

    async fn connect_at_last(settings: &Settings, estates: Arc<Estates>) -> Result<Arc<Self>> {
        let client = open(settings).await?;
        let core = Arc::new(Self {
            client,
            access: settings.access.clone(),
            layer: settings.options.layer.clone(),
            owner: Uuid::new_v4().to_string(),
            deaths: Notify::new(),
            queue_limit: settings.options.queue_limit,
            queues: Mutex::default(),
            lost: watch::Sender::new(None),
            estates,
            tasks: Mutex::default(),
        });
        core.watch_session();
        core.announce().await?;
        core.estates.settle(&core).await?;
        Ok(core)
    }

    /// Makes the nodes of this transport, and that of this owner.
    async fn announce(self: &Arc<Self>) -> Result<()> {
        for path in [ROOT, OWNERS, CLAIMS, EXCHANGES] {
            self.ensure(path).await?;
        }
        let owners = self.watch(OWNERS).await?;
        let core = Arc::downgrade(self);
        self.spawn(follow(owners, move |event, _path| {
            if let (EventType::NodeDeleted, Some(core)) = (event, core.upgrade()) {
                core.deaths.notify_one();
            }
        }));
        // Before the folder of its claims, which without an owner is taken for a dead one's.
        let own = format!("{OWNERS}/{}", self.owner);
        let ephemeral = self.access.node(CreateMode::Ephemeral);
        self.call(self.client.create(&own, b"", &ephemeral)).await?;
        let claims = format!("{CLAIMS}/{}", self.owner);
        self.make(&claims).await
    }

    /// Makes a node that may be there, whose parent is.
    pub(crate) async fn make(&self, path: &str) -> Result<()> {
        let node = self.access.node(CreateMode::Persistent);
        match self.ask(self.client.create(path, b"", &node)).await? {
            Ok(_) | Err(Zk::NodeExists) => Ok(()),
            Err(refused) => Err(error(refused)),
        }
    }

    /// Sees to it that a node is there; one that is needs no right to its parent.
    pub(crate) async fn ensure(&self, path: &str) -> Result<()> {
        if self.call(self.client.check_stat(path)).await?.is_some() {
            return Ok(());
        }
        self.make(path).await
    }

    /// Sees to it that a queue has a node, which has room for more.
    pub(crate) async fn ensure_queue(&self, queue: &Arc<str>, path: &str) -> Result<()> {
        let checked = lock(&self.queues).get(queue).copied();
        if checked.is_some_and(|checked| checked.elapsed() < CHECKED) {
            return Ok(());
        }
        match self.call(self.client.check_stat(path)).await? {
            None => self.make(path).await?,
            Some(stat) => {
                let waiting = u64::try_from(stat.num_children).unwrap_or(0);
                if waiting >= self.queue_limit {
                    self.forget_queue(queue);
                    return Err(full(waiting, self.queue_limit).with("queue", queue));
                }
            }
        }
        lock(&self.queues).insert(Arc::clone(queue), Instant::now());
        Ok(())
    }

    /// Forgets that a queue has a node.
    pub(crate) fn forget_queue(&self, queue: &str) {
        lock(&self.queues).remove(queue);
    }

    /// Watches a node and everything below it.
    pub(crate) async fn watch(&self, path: &str) -> Result<PersistentWatcher> {
        self.call(self.client.watch(path, AddWatchMode::PersistentRecursive)).await
    }

    /// Lets reads that follow see all that was confirmed to anybody before.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        self.call(self.client.sync("/")).await
    }

    /// Waits for an answer; what the server refuses is an error of the call.
    pub(crate) async fn call<T>(&self, call: impl Future<Output = Result<T, Zk>>) -> Result<T> {
        self.ask(call).await?.map_err(error)
    }

    /// Waits for an answer, of which a refusal is one. Once the link is lost none is waited for:
    /// the driver would send requests again with its next link.
    pub(crate) async fn ask<T, E: Into<Zk> + Clone>(
        &self,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<T, E>> {
        let answer = tokio::select! {
            biased;
            answer = call => answer,
            lost = self.lost() => return Err(lost),
        };
        if let Err(refused) = &answer {
            let refused = error(refused.clone().into());
            if refused.scope() == Scope::Connection {
                self.lose(&refused.to_string());
                return Err(refused);
            }
        }
        Ok(answer)
    }

    /// Whether the link is lost.
    pub(crate) fn alive(&self) -> Result<()> {
        self.lost.borrow().as_ref().map_or(Ok(()), |why| Err(Error::lost(why.clone())))
    }

    /// Waits until the link is lost.
    pub(crate) async fn lost(&self) -> Error {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(why) => Error::lost(why.clone().unwrap_or_default()),
            Err(_closed) => Error::closed("connection"),
        }
    }

    /// Gives the link up; what it held goes back with the next one.
    fn lose(&self, why: &str) {
        let first = self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            self.estates.leave(self.owner.clone());
        }
    }

    fn watch_session(self: &Arc<Self>) {
        let mut states = self.client.state_watcher();
        let core = Arc::downgrade(self);
        let mut state = self.client.state();
        self.spawn(async move {
            while state == SessionState::SyncConnected {
                state = states.changed().await;
            }
            if let Some(core) = core.upgrade() {
                core.lose(match state {
                    SessionState::Expired => "the session has expired",
                    _ => "the link broke",
                });
            }
        });
    }

    /// Runs something for as long as the session.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }

    /// Ends the session. What it holds was given back before.
    pub(crate) async fn close(&self) -> Result<()> {
        if self.alive().is_ok() {
            // Another one looks into a folder that is not empty.
            let claims = format!("{CLAIMS}/{}", self.owner);
            let owner = format!("{OWNERS}/{}", self.owner);
            let (first, second) =
                (self.client.delete(&claims, None), self.client.delete(&owner, None));
            let _not_empty = self.ask(first).await?;
            let _gone = self.ask(second).await?;
        }
        lock(&self.tasks).abort_all();
        Ok(())
    }
}

/// Passes the events of a watch on, until its session ends.
pub(crate) async fn follow(
    mut watcher: PersistentWatcher,
    mut tell: impl FnMut(EventType, &str) + Send + 'static,
) {
    loop {
        let event = watcher.changed().await;
        if event.event_type != EventType::Session {
            tell(event.event_type, &event.path);
        } else if event.session_state.is_terminated() {
            return;
        }
    }
}

async fn open(settings: &Settings) -> Result<Client> {
    let mut connector = Client::connector()
        .with_session_timeout(settings.options.session_timeout)
        .with_connection_timeout(settings.silence)
        .with_fail_eagerly();
    if let Some(identity) = &settings.identity {
        connector = connector.with_auth("digest", identity.expose().as_bytes());
    }
    let client = match connector.connect(&settings.servers).await {
        Ok(client) => client,
        Err(Zk::NoHosts) => {
            return Err(Error::lost("no server of the ensemble can be reached")
                .with("servers", &settings.servers));
        }
        Err(refused) => return Err(error(refused).with("servers", &settings.servers)),
    };
    let Some(root) = &settings.root else { return Ok(client) };
    if client.check_stat(root).await.map_err(error)?.is_none() {
        let node = settings.access.node(CreateMode::Persistent);
        client.mkdir(root, &node).await.map_err(error)?;
    }
    client.chroot(root.as_str()).map_err(|_client| {
        Error::new(ErrorKind::InvalidUrl, "the servers take no such path").with("path", root)
    })
}

fn full(waiting: u64, limit: u64) -> Error {
    Error::new(
        ErrorKind::Nacked,
        format!(
            "the queue is full: {waiting} messages wait, and option queue_limit is {limit}; \
             ZooKeeper lists all of a queue's messages in one answer"
        ),
    )
}

/// How long a look at the length of a queue counts.
const CHECKED: Duration = Duration::from_secs(1);
