//! What the parts of a connection share.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result, Scope};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::IndexOptions;
use mongodb::{Client, Collection, Database, IndexModel};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::error;
use crate::fanout::FanQueue;
use crate::hub::{Hub, Shared};
use crate::options::MongodbOptions;

/// A connection and what it knows.
#[derive(Debug)]
pub(crate) struct Core {
    client: Client,
    database: Database,
    pub(crate) messages: Collection<RawDocumentBuf>,
    pub(crate) routing: Collection<Document>,
    pub(crate) broadcast: Collection<RawDocumentBuf>,
    pub(crate) queues: Collection<Document>,
    pub(crate) options: MongodbOptions,
    pub(crate) server: Server,
    pub(crate) clock: Clock,
    /// Names this connection in what it holds.
    pub(crate) owner: ObjectId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) hub: Arc<Hub>,
    /// The queues of fanout exchanges that this connection has bound.
    pub(crate) fan_queues: Mutex<HashMap<Arc<str>, Arc<FanQueue>>>,
    /// Whether the server tells of changes at the moment.
    pub(crate) hears: AtomicBool,
    /// Asks for a sign of life at once.
    pub(crate) doubt: Arc<Notify>,
    /// Why the link is lost.
    reason: Mutex<Option<Error>>,
    over: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) info: ServerInfo,
    /// Whether it is one of a set, or a way to some: only these tell of changes.
    pub(crate) tells_of_changes: bool,
    /// The largest document in bytes.
    pub(crate) largest: usize,
}

impl Core {
    /// Gets to know the server, and makes what is missing there.
    pub(crate) async fn start(
        client: Client,
        database: &str,
        options: MongodbOptions,
        shared: Arc<Shared>,
        hub: Arc<Hub>,
        doubt: Arc<Notify>,
    ) -> Result<Arc<Self>> {
        let database = client.database(database);
        let clock = Clock::default();
        let server = Server::ask(&database, &clock).await?;
        let core = Arc::new(Self {
            messages: database.collection(&options.messages_collection),
            routing: database.collection(&options.routing_collection),
            broadcast: database.collection(&options.broadcast_collection),
            queues: database.collection(&options.queues_collection),
            client,
            database,
            options,
            server,
            clock,
            owner: ObjectId::new(),
            shared,
            hub,
            fan_queues: Mutex::default(),
            hears: AtomicBool::new(false),
            doubt,
            reason: Mutex::default(),
            over: watch::Sender::new(false),
            tasks: Mutex::default(),
        });
        core.prepare().await?;
        Ok(core)
    }

    /// Makes the collections and indexes of Kombu, and two indexes of our own.
    async fn prepare(&self) -> Result<()> {
        let (broadcast, messages, routing) = tokio::join!(
            self.make_broadcast(),
            self.make_message_indexes(),
            self.make_index(&self.routing, doc! { "queue": 1, "exchange": 1 }),
        );
        for made in [broadcast, messages, routing] {
            made?;
        }
        let expiring = IndexOptions::builder()
            .partial_filter_expression(doc! { "expire_at": { "$type": "date" } })
            .build();
        let keys = doc! { "queue": 1, "expire_at": 1 };
        self.make_if_possible(&self.messages, keys, expiring).await?;
        if self.options.ttl {
            let at_once = || IndexOptions::builder().expire_after(Duration::ZERO).build();
            let keys = || doc! { "expire_at": 1 };
            self.make_if_possible(&self.messages, keys(), at_once()).await?;
            self.make_if_possible(&self.routing, keys(), at_once()).await?;
            self.make_if_possible(&self.queues, keys(), at_once()).await?;
        }
        Ok(())
    }

    async fn make_broadcast(&self) -> Result<()> {
        let (database, name) = (self.database.clone(), self.broadcast.name().to_owned());
        let known = self
            .call(
                async move { database.list_collection_names().filter(doc! { "name": name }).await },
            )
            .await?;
        if known.is_empty() {
            let (database, name) = (self.database.clone(), self.broadcast.name().to_owned());
            let size = self.options.capped_queue_size;
            self.call(async move {
                let made = database.create_collection(name).capped(true).size(size).await;
                // Somebody else may have been faster.
                made.or_else(|error| if error::is_there(&error) { Ok(()) } else { Err(error) })
            })
            .await?;
        }
        self.make_index(&self.broadcast, doc! { "queue": 1 }).await
    }

    async fn make_message_indexes(&self) -> Result<()> {
        // One after the other: FerretDB fails at two in one call.
        self.make_index(&self.messages, doc! { "queue": 1, "priority": 1, "_id": 1 }).await?;
        let sparse = IndexOptions::builder().sparse(true).build();
        self.make_if_possible(&self.messages, doc! { "claim.until": 1 }, sparse).await
    }

    async fn make_index<T: Send + Sync + 'static>(
        &self,
        collection: &Collection<T>,
        keys: Document,
    ) -> Result<()> {
        let collection = collection.clone();
        let index = IndexModel::builder().keys(keys).build();
        self.call(async move { collection.create_index(index).await.map(drop) }).await
    }

    /// Makes an index that not every server has.
    async fn make_if_possible<T: Send + Sync + 'static>(
        &self,
        collection: &Collection<T>,
        keys: Document,
        options: IndexOptions,
    ) -> Result<()> {
        let collection = collection.clone();
        let index = IndexModel::builder().keys(keys.clone()).options(options).build();
        let made = self
            .call(async move {
                match collection.create_index(index).await {
                    Err(error) if error::is_not_implemented(&error) => Ok(false),
                    made => made.map(|_| true),
                }
            })
            .await?;
        if !made {
            tracing::debug!(%keys, "the server has no index of that kind; it goes without");
        }
        Ok(())
    }

    /// Makes a call to its end, in a task of its own: the driver wants none of its calls dropped.
    /// Once the link is lost it is not waited for.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T> {
        if let Some(error) = self.lost_because() {
            return Err(error);
        }
        let working = tokio::spawn(work);
        tokio::select! {
            biased;
            done = working => match done {
                Ok(done) => done.map_err(|error| self.judge(error::driver(error))),
                Err(_ended) => Err(Error::lost("the call was given up")),
            },
            error = self.lost() => Err(error),
        }
    }

    /// Runs a command on the database.
    pub(crate) async fn command(&self, command: Document) -> Result<Document> {
        let database = self.database.clone();
        self.call(async move { database.run_command(command).await }).await
    }

    /// One round trip, which also tells the server's time.
    pub(crate) async fn ping(&self) -> Result<()> {
        let asked = SystemTime::now();
        let told = self.command(doc! { "hello": 1 }).await?;
        if let Ok(time) = told.get_datetime("localTime") {
            self.clock.set(*time, asked, SystemTime::now());
        }
        Ok(())
    }

    /// Runs a task for as long as the connection lives.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = tokio::spawn(task);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Asks for signs of life, at the latest in this interval, and gives a silent server up.
    pub(crate) fn keep_alive(self: &Arc<Self>, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        let core = Arc::clone(self);
        self.spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(interval) => {}
                    () = core.doubt.notified() => {}
                    _lost = core.lost() => return,
                }
                match timeout(interval, core.ping()).await {
                    Ok(Err(error)) if error.scope() == Scope::Connection => return,
                    Ok(_) => {}
                    Err(_late) => {
                        let silent = format!("the server was silent for {interval:?}");
                        core.lose(&Error::lost(silent));
                        return;
                    }
                }
            }
        });
    }

    /// Notes the loss of the link if an error means it.
    pub(crate) fn judge(&self, error: Error) -> Error {
        if error.scope() == Scope::Connection {
            self.lose(&error);
        }
        error
    }

    /// Gives the link up. What it held is left to the next one.
    pub(crate) fn lose(&self, error: &Error) {
        {
            let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
            if reason.is_some() {
                return;
            }
            *reason = Some(error.duplicate());
        }
        if error.kind() != ErrorKind::Closed {
            self.shared.estates.leave(self.owner, self.options.visibility_timeout);
            let queues = std::mem::take(&mut *self.lock_fan_queues());
            for queue in queues.values() {
                queue.put_back_of(self.owner);
            }
            self.hub.keep(queues.into_values());
        }
        self.over.send_replace(true);
    }

    fn lost_because(&self) -> Option<Error> {
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        reason.as_ref().map(Error::duplicate)
    }

    /// Waits until the link is lost. Cancel safe.
    pub(crate) async fn lost(&self) -> Error {
        let mut over = self.over.subscribe();
        let _never_dropped = over.wait_for(|over| *over).await;
        self.lost_because().unwrap_or_else(|| Error::closed("connection"))
    }

    pub(crate) fn lock_fan_queues(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<Arc<str>, Arc<FanQueue>>> {
        self.fan_queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fan_queue(&self, queue: &str) -> Option<Arc<FanQueue>> {
        self.lock_fan_queues().get(queue).cloned()
    }

    pub(crate) async fn close(&self) {
        self.lose(&Error::closed("connection"));
        self.lock_fan_queues().clear();
        self.hub.prune();
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let _ended = timeout(SHUT_DOWN, task).await;
        }
        let closing = self.client.clone().shutdown().immediate(true);
        let _closed_in_time = timeout(SHUT_DOWN, tokio::spawn(closing.into_future())).await;
    }
}

impl Server {
    async fn ask(database: &Database, clock: &Clock) -> Result<Self> {
        let ask = async |command| {
            let database = database.clone();
            let asking = tokio::spawn(async move { database.run_command(command).await });
            match asking.await {
                Ok(told) => told.map_err(error::driver),
                Err(_ended) => Err(Error::lost("the call was given up")),
            }
        };
        let asked = SystemTime::now();
        let hello: Document = ask(doc! { "hello": 1 }).await?;
        if let Ok(time) = hello.get_datetime("localTime") {
            clock.set(*time, asked, SystemTime::now());
        }
        let build: Document = ask(doc! { "buildInfo": 1 }).await?;
        let of_many = hello.get_str("setName").is_ok()
            || hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid");
        let (product, version) = match build.get_document("ferretdb") {
            Ok(ferret) => ("FerretDB", ferret.get_str("version")),
            Err(_) => ("MongoDB", build.get_str("version")),
        };
        let largest = hello.get_i32("maxBsonObjectSize").ok();
        let largest = largest.and_then(|size| usize::try_from(size).ok());
        Ok(Self {
            info: ServerInfo::new(product, version.unwrap_or_default()),
            tells_of_changes: of_many,
            largest: largest.unwrap_or(16 << 20),
        })
    }
}

/// How long the end of each task is waited for.
const SHUT_DOWN: Duration = Duration::from_secs(2);
