//! A link to etcd, and what belongs to it.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};

use etcd_client::{
    Client, ConnectOptions, Error as Etcd, GetOptions, GetResponse, KvClient, LeaseKeepAliveStream,
    LeaseKeeper, Txn, TxnOp, TxnResponse, WatchOptions, WatchStream,
};
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result, Scope};
use kombu_virtual::VirtualOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use crate::error::error;
use crate::estates::Estates;
use crate::layout::Keys;
use crate::lock::lock;
use crate::settings::Settings;

/// One link, with a lease. It is over when either is: the next one has a new lease.
pub(crate) struct Core {
    client: Client,
    kv: KvClient,
    pub(crate) keys: Keys,
    pub(crate) layer: VirtualOptions,
    pub(crate) server: ServerInfo,
    pub(crate) lease: i64,
    /// Queues that are known to be declared.
    queues: Mutex<HashSet<Arc<str>>>,
    lost: watch::Sender<Option<String>>,
    estates: Arc<Estates>,
    tasks: Mutex<JoinSet<()>>,
}

impl Core {
    /// Connects to one of the members.
    pub(crate) async fn connect(settings: &Settings, estates: Arc<Estates>) -> Result<Arc<Self>> {
        let mut failure = None;
        let each = settings.connect_timeout / u32::try_from(settings.members.len()).unwrap_or(1);
        for member in &settings.members {
            let connecting = Self::connect_to(member, settings, Arc::clone(&estates));
            let connected = timeout(each, connecting).await.unwrap_or_else(|_elapsed| {
                Err(Error::lost("the member did not answer in time, or has no leader"))
            });
            match connected {
                Ok(core) => return Ok(core),
                Err(error) => failure = Some(error.with("member", member)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::lost("no member is named")))
    }

    async fn connect_to(
        member: &str,
        settings: &Settings,
        estates: Arc<Estates>,
    ) -> Result<Arc<Self>> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(settings.connect_timeout)
            .with_require_leader(true);
        if let Some((name, password)) = &settings.user {
            options = options.with_user(name, password.expose());
        }
        if let Some(tls) = &settings.tls {
            options = options.with_tls(tls.clone());
        }
        let mut client = Client::connect([member], Some(options)).await.map_err(error)?;
        // Whoever may not ask for the version may still use keys.
        let version = client.status().await.map(|status| status.version().to_owned());
        let ttl = i64::try_from(settings.options.lease_ttl.as_secs()).unwrap_or(i64::MAX);
        let granted = client.lease_grant(ttl, None).await.map_err(error)?;
        let (keeper, answers) = client.lease_keep_alive(granted.id()).await.map_err(error)?;
        let core = Arc::new(Self {
            kv: client.kv_client().max_decoding_message_size(ANSWER),
            client,
            keys: Keys::new(&settings.prefix),
            layer: settings.options.layer.clone(),
            server: ServerInfo::new("etcd", version.unwrap_or_default()),
            lease: granted.id(),
            queues: Mutex::default(),
            lost: watch::Sender::new(None),
            estates,
            tasks: Mutex::default(),
        });
        core.keep_alive(keeper, answers, settings.heartbeat);
        // Who may use no key below the prefix is told so here, and not by a watch that ends.
        core.ping().await?;
        core.estates.settle(&core).await?;
        Ok(core)
    }

    /// Renews the lease, which is the sign of life in both directions.
    fn keep_alive(
        self: &Arc<Self>,
        mut keeper: LeaseKeeper,
        mut answers: LeaseKeepAliveStream,
        heartbeat: Duration,
    ) {
        let core = Arc::downgrade(self);
        self.spawn(async move {
            let why = loop {
                sleep(heartbeat).await;
                let answer = async {
                    keeper.keep_alive().await?;
                    answers.message().await
                };
                match timeout(heartbeat, answer).await {
                    Ok(Ok(Some(alive))) if alive.ttl() > 0 => {}
                    Ok(Ok(Some(_))) => break "the lease has ended".to_owned(),
                    Ok(Ok(None)) => break "the server ended the link".to_owned(),
                    Ok(Err(refused)) => break error(refused).to_string(),
                    Err(_elapsed) => break format!("the server was silent for {heartbeat:?}"),
                }
            };
            if let Some(core) = core.upgrade() {
                core.lose(&why);
            }
        });
    }

    /// Reads keys.
    pub(crate) async fn get(&self, key: String, options: GetOptions) -> Result<GetResponse> {
        let mut kv = self.kv.clone();
        self.call(async move { kv.get(key, Some(options)).await }).await
    }

    /// Does operations at once, all or none.
    pub(crate) async fn all(&self, operations: Vec<TxnOp>) -> Result<TxnResponse> {
        self.transact(Txn::new().and_then(operations)).await
    }

    /// Does a transaction.
    pub(crate) async fn transact(&self, txn: Txn) -> Result<TxnResponse> {
        let mut kv = self.kv.clone();
        self.call(async move { kv.txn(txn).await }).await
    }

    /// Watches all keys with a prefix, from a revision on.
    pub(crate) async fn watch(&self, prefix: String, revision: i64) -> Result<WatchStream> {
        let options =
            WatchOptions::new().with_prefix().with_start_revision(revision).with_fragment();
        let mut client = self.client.watch_client();
        self.call(async move { client.watch(prefix, Some(options)).await }).await
    }

    /// Ends a lease, and with it the claims under it.
    pub(crate) async fn revoke(&self, lease: i64) -> Result<()> {
        let mut client = self.client.lease_client();
        let revoking = async move {
            match client.revoke(lease).await {
                Ok(_) => Ok(true),
                Err(Etcd::GRpcStatus(status)) if status.message().contains("lease not found") => {
                    Ok(false)
                }
                Err(refused) => Err(refused),
            }
        };
        if self.call(revoking).await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, "there is no such lease"))
    }

    /// One round trip to the leader.
    pub(crate) async fn ping(&self) -> Result<()> {
        let options = GetOptions::new().with_count_only();
        self.get(self.keys.queue(""), options).await.map(drop)
    }

    /// Whether a queue is known to be declared.
    pub(crate) fn knows_queue(&self, queue: &str) -> bool {
        lock(&self.queues).contains(queue)
    }

    /// Notes that a queue is declared, or is not any more.
    pub(crate) fn note_queue(&self, queue: &str, declared: bool) {
        let mut queues = lock(&self.queues);
        if declared {
            queues.insert(queue.into());
        } else {
            queues.remove(queue);
        }
    }

    /// Waits for an answer. Once the link is lost none is waited for.
    async fn call<T>(&self, call: impl Future<Output = Result<T, Etcd>>) -> Result<T> {
        self.alive()?;
        let answer = tokio::select! {
            biased;
            answer = call => answer.map_err(error),
            lost = self.lost() => return Err(lost),
        };
        answer.inspect_err(|refused| {
            if refused.scope() == Scope::Connection {
                self.lose(&refused.to_string());
            }
        })
    }

    /// Fails when the link is lost.
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
    pub(crate) fn lose(&self, why: &str) {
        let first = self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            lost.get_or_insert_with(|| why.to_owned());
            first
        });
        if first {
            self.estates.leave(self.lease);
        }
    }

    /// Runs something for as long as the link.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        lock(&self.tasks).spawn(task);
    }

    /// Ends the link. What it still holds goes back with its lease.
    pub(crate) async fn close(&self) -> Result<()> {
        let revoked = match self.alive() {
            Ok(()) => self.revoke(self.lease).await,
            Err(_lost) => Ok(()),
        };
        lock(&self.tasks).abort_all();
        revoked
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("keys", &self.keys)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// The largest answer: a claim's messages, and lists of keys of any length.
const ANSWER: usize = 256 << 20;
