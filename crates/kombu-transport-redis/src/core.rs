//! What the parts of a connection share.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use kombu_core::Result;
use kombu_core::transport::ServerInfo;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::driver::{Event, Link};
use crate::fanout::Fanout;
use crate::keys::Keys;
use crate::ledger::{Ledger, Score};
use crate::options::RedisOptions;
use crate::reply::Reply;
use crate::scripts::{Script, Scripts};
use crate::waiters::{Waiters, lists_changed, queue_changed};

/// A connection and what it knows.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) link: Link,
    pub(crate) keys: Keys,
    pub(crate) options: RedisOptions,
    pub(crate) server: Server,
    /// Whether the server tells of changes to keys.
    pub(crate) tracked: bool,
    pub(crate) ledger: Ledger,
    pub(crate) waiters: Waiters,
    pub(crate) fanout: Fanout,
    /// Names this connection's logs.
    pub(crate) name: String,
    /// Changes whenever exchanges, bindings or queues may have.
    pub(crate) version: AtomicU64,
    /// Held while scores change or are compared.
    pub(crate) scores: tokio::sync::Mutex<()>,
    /// Held while messages are being taken.
    pub(crate) taking: tokio::sync::RwLock<()>,
    pub(crate) claimed: Mutex<HashSet<Arc<str>>>,
    /// How often somebody else had the mutex, in a row.
    pub(crate) mutex_was_held: AtomicU32,
    /// The server's time when the connection was made.
    clock: (u64, Instant),
    scripts: Scripts,
    closed: AtomicBool,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) info: ServerInfo,
    /// Names its process.
    pub(crate) run_id: String,
    /// This connection's number there.
    pub(crate) client: i64,
    /// Whether it keeps what it is told through restarts.
    pub(crate) persistent: bool,
    pub(crate) role: String,
    /// Whether it reads its data still, and does nothing else.
    pub(crate) loading: bool,
}

impl Core {
    /// Gets to know the server and starts to listen.
    pub(crate) async fn start(link: Link, keys: Keys, options: RedisOptions) -> Result<Arc<Self>> {
        let mut server = Server::ask(&link).await?;
        if keys.is_cluster() {
            // It is another one at each node.
            server.client = 0;
        }
        let time = link.call(b"", "TIME", Vec::new()).await?.into_all_bytes()?;
        let now = match time.as_slice() {
            [seconds, micros] => number(seconds) * 1_000_000 + number(micros),
            _ => 0,
        };
        let tracked = match link.track().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the server does not tell of changes; queues are polled");
                false
            }
        };
        let core = Arc::new(Self {
            scripts: Scripts::new(&server.info.version),
            link,
            keys,
            options,
            server,
            tracked,
            ledger: Ledger::default(),
            waiters: Waiters::default(),
            fanout: Fanout::default(),
            name: Uuid::new_v4().to_string(),
            version: AtomicU64::new(1),
            scores: tokio::sync::Mutex::new(()),
            taking: tokio::sync::RwLock::new(()),
            claimed: Mutex::default(),
            mutex_was_held: AtomicU32::new(0),
            clock: (now, Instant::now()),
            closed: AtomicBool::new(false),
        });
        let listening = tokio::spawn(listen(Arc::downgrade(&core), core.link.events()));
        core.link.keep(listening);
        Ok(core)
    }

    pub(crate) async fn run(
        &self,
        script: Script,
        keys: &[Bytes],
        arguments: impl IntoIterator<Item = Bytes>,
    ) -> Result<Reply> {
        self.scripts.run(&self.link, script, keys, arguments).await
    }

    /// A command whose first argument is its key.
    pub(crate) async fn call(&self, name: &'static str, arguments: Vec<Bytes>) -> Result<Reply> {
        let key = arguments.first().cloned().unwrap_or_default();
        self.link.call(&key, name, arguments).await
    }

    /// The server's time, as far as it is known here.
    pub(crate) fn now(&self) -> Score {
        let (then, since) = self.clock;
        Score(then + u64::try_from(since.elapsed().as_micros()).unwrap_or(0))
    }

    pub(crate) fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The name of a log.
    pub(crate) fn log(&self, queue: &str, number: usize) -> Bytes {
        self.keys.log(queue, &format!("{}.{number}", self.name))
    }

    pub(crate) fn note_claimed(&self, queue: &Arc<str>) {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        if !claimed.contains(queue) {
            claimed.insert(Arc::clone(queue));
        }
    }

    /// The queues that were claimed from.
    pub(crate) fn claimed(&self) -> Vec<Arc<str>> {
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.iter().cloned().collect()
    }

    pub(crate) async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        let logs = self.ledger.logs();
        for (number, queue) in logs.iter().enumerate() {
            let _in_any_case = self.call("DEL", vec![self.log(queue, number)]).await;
        }
        self.link.close().await;
    }
}

impl Server {
    /// Asks a server.
    pub(crate) async fn ask(link: &Link) -> Result<Self> {
        // A user may be without the right to know it.
        let text = match link.ask(b"", "INFO", Vec::new()).await? {
            Reply::Refused(text) if text.starts_with("NOPERM") => String::new(),
            Reply::Refused(text) => return Err(link.refuse(&text)),
            reply => reply.into_text()?,
        };
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
        };
        let valkey = field("valkey_version");
        let product = if valkey.is_some() { "Valkey" } else { "Redis" };
        let version = valkey.or_else(|| field("redis_version")).unwrap_or_default();
        let client = match link.ask(b"", "CLIENT", vec![Bytes::from_static(b"ID")]).await? {
            Reply::Int(number) => number,
            _ => 0,
        };
        Ok(Self {
            info: ServerInfo::new(product, version),
            run_id: field("run_id").unwrap_or_default(),
            client,
            persistent: field("aof_enabled").as_deref() == Some("1"),
            role: field("role").unwrap_or_default(),
            loading: field("loading").as_deref() == Some("1"),
        })
    }
}

/// Hears what the server says without being asked.
async fn listen(core: Weak<Core>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        let Some(core) = core.upgrade() else { return };
        match event {
            Event::Changed(keys) => {
                if keys.iter().any(|key| core.keys.is_bindings(key)) {
                    core.changed();
                }
                lists_changed(&core.waiters, &keys);
            }
            Event::Message { channel, payload } => {
                let Some(exchange) = core.keys.exchange_of(&channel) else { continue };
                for queue in core.fanout.deliver(exchange, &payload) {
                    queue_changed(&core.waiters, &queue);
                }
            }
            Event::Missed => {
                tracing::warn!("more came from the server than could be looked at");
                core.changed();
                core.waiters.wake_all();
            }
        }
    }
}

fn number(bytes: &Bytes) -> u64 {
    std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// How long a claim waits between two looks where the server does not tell of changes.
pub(crate) const POLL: Duration = Duration::from_millis(100);
