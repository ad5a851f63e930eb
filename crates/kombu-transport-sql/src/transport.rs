//! The transport.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::{Capabilities, ConnectParams, PriorityOrder, RawConnection, Transport};
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::VirtualConnection;
use tokio::time::timeout;

use crate::address::Address;
use crate::core::Lanes;
use crate::dialect::Dialect;
use crate::driver::Driver;
use crate::lane::Lane;
use crate::listen::Listener;
use crate::open::open;
use crate::options::SqlOptions;
use crate::shared::Registry;
use crate::store::SqlStore;

/// The schemes of [`SqlTransport`].
pub const SCHEMES: &[&str] = &["sqla", "sqlalchemy"];

/// Connects to databases.
///
/// Connections of the same value to the same SQLite file take turns instead of waiting for its
/// lock, and wake each other.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// use kombu_transport_sql::SqlTransport;
/// let registry = TransportRegistry::new().with(SqlTransport::new());
/// assert_eq!(registry.find("sqla+sqlite")?.name(), "sql");
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SqlTransport {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    registry: Arc<Registry>,
    files: Mutex<HashMap<PathBuf, File>>,
}

/// The lanes to a SQLite file that somebody uses.
#[derive(Debug)]
struct File {
    write: Weak<Lane>,
    read: Weak<Lane>,
}

impl SqlTransport {
    /// A transport that shares nothing with others.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "the default would be to share")]
    pub fn new() -> Self {
        Self { inner: Arc::default() }
    }

    /// The transport that all of the process shares.
    #[must_use]
    pub fn shared() -> Self {
        static INNER: LazyLock<Arc<Inner>> = LazyLock::new(Arc::default);
        Self { inner: Arc::clone(&INNER) }
    }

    /// The lanes to a SQLite file: one that writes and one that reads, whoever uses them.
    fn file_lanes(&self, file: Option<&PathBuf>, driver: &Driver, options: &SqlOptions) -> Lanes {
        let lane = || Arc::new(Lane::new(driver.clone(), options.busy_timeout, None));
        let of = |write: &Arc<Lane>, read: Arc<Lane>| Lanes {
            write: Arc::clone(write),
            claim: Arc::clone(write),
            read,
        };
        let Some(file) = file else {
            // A database in memory is its connection's.
            let only = lane();
            return of(&only, Arc::clone(&only));
        };
        // Whatever names it: its folder is there, or nothing will be.
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.map_or_else(|| PathBuf::from("."), PathBuf::from);
        let folder = folder.canonicalize().unwrap_or(folder);
        let path = file.file_name().map(|name| folder.join(name)).unwrap_or(folder);
        let path = path.canonicalize().unwrap_or(path);
        let mut files = self.inner.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.write.strong_count() > 0);
        if let Some(file) = files.get(&path)
            && let (Some(write), Some(read)) = (file.write.upgrade(), file.read.upgrade())
        {
            return of(&write, read);
        }
        let (write, read) = (lane(), lane());
        files.insert(path, File { write: Arc::downgrade(&write), read: Arc::downgrade(&read) });
        of(&write, read)
    }
}

#[async_trait]
impl Transport for SqlTransport {
    fn name(&self) -> &'static str {
        "sql"
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    fn capabilities(&self) -> Capabilities {
        let mut promised = Capabilities::default();
        promised.direct = true;
        promised.topic = true;
        promised.fanout = true;
        promised.headers = true;
        promised.exchange_bindings = true;
        promised.shared_bindings = true;
        promised.priority = true;
        promised.priority_order = PriorityOrder::HighFirst;
        promised.message_expiration = true;
        promised.queue_message_ttl = true;
        promised.persistence = true;
        promised.at_least_once = true;
        promised.requeue_to_head = true;
        promised.redelivered = true;
        promised.mandatory = true;
        promised.auto_delete_queues = true;
        promised.heartbeats = true;
        promised
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let options = SqlOptions::from_options(params.options.clone())?;
        let address = Address::of(&params.url)?;
        let driver = Driver::new(&address, params, &options)?;
        let heartbeat = params.connection.heartbeat.unwrap_or(HEARTBEAT);
        let (lanes, dialect) = match &address {
            Address::Sqlite(file) => {
                (self.file_lanes(file.as_ref(), &driver, &options), Dialect::Sqlite)
            }
            Address::MySql(_) | Address::Postgres(_) => {
                let dialect = match address {
                    Address::MySql(_) => Dialect::MySql,
                    _ => Dialect::Postgres,
                };
                let limit = Some(LONGEST_ANSWER.max(heartbeat * 2));
                let lane = || Arc::new(Lane::new(driver.clone(), options.busy_timeout, limit));
                let (write, claim) = (lane(), lane());
                (Lanes { read: Arc::clone(&write), write, claim }, dialect)
            }
        };
        let place = describe(params, &address);
        let opening = open(lanes, dialect, options, &self.inner.registry);
        let limit = params.connection.connect_timeout;
        let opened = match timeout(limit, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("the database did not answer within {limit:?}"),
            )
            .scoped(kombu_core::Scope::Connection)),
        };
        let core = opened.map_err(|error| error.with("database", place))?;
        let mut promised = self.capabilities();
        promised.heartbeats = dialect != Dialect::Sqlite;
        promised.max_message_bytes = core.longest;
        promised.persistence = !matches!(address, Address::Sqlite(None));
        let mut layer = core.options.layer.clone();
        // The store's own waiting heeds it.
        layer.polling_interval = None;
        let store = SqlStore::new(core, Listener::new(&driver), heartbeat);
        Ok(VirtualConnection::start(Arc::new(store), layer, promised))
    }
}

/// A database in an error: without user and password.
fn describe(params: &ConnectParams, address: &Address) -> String {
    match address {
        Address::Sqlite(None) => "in memory".to_owned(),
        Address::Sqlite(Some(file)) => file.display().to_string(),
        Address::MySql(server) | Address::Postgres(server) => format!(
            "{}://{}:{}/{}",
            params.url.full_scheme(),
            server.host,
            server.port,
            server.database
        ),
    }
}

/// The time between two signs of life that are asked of a server.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a server may take for a piece of work.
const LONGEST_ANSWER: Duration = Duration::from_secs(30);
