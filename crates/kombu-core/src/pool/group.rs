//! A pool for each URL.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::{ConnectionPool, PoolBuilder, ProducerPool};
use crate::connection::{ConnectionBuilder, lock};
use crate::error::Result;
use crate::url::{BrokerUrls, IntoUrls};

/// One pool for each URL that is asked for. A value that a program passes around; cheap to clone,
/// all clones are one group.
///
/// ```
/// # use kombu_core::Connection;
/// # use kombu_core::pool::Pools;
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
/// let memory = MemoryTransport::new();
/// let pools = Pools::new(move |urls| Connection::builder(urls).transport(memory.clone()))
///     .configure(|pool| pool.limit(2));
///
/// let producer = pools.producers("memory://one")?.acquire().await?;
/// producer.publish("cats").to("", "video").await?;
/// assert_eq!(pools.connections("memory://one")?.lent(), 1);
/// assert_eq!(pools.connections("memory://two")?.lent(), 0);
/// pools.close().await
/// # }
/// ```
///
/// # Kombu
///
/// `kombu.pools.connections` and `kombu.pools.producers`, which are globals with one global limit.
#[derive(Clone)]
pub struct Pools(Arc<Inner>);

struct Inner {
    connection: Box<dyn Fn(BrokerUrls) -> ConnectionBuilder + Send + Sync>,
    configure: Box<dyn Fn(PoolBuilder) -> PoolBuilder + Send + Sync>,
    pools: Mutex<HashMap<BrokerUrls, ConnectionPool>>,
}

impl Pools {
    /// A group whose connections are made as `connection` says, such as by `kombu::connection`.
    pub fn new(
        connection: impl Fn(BrokerUrls) -> ConnectionBuilder + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            connection: Box::new(connection),
            configure: Box::new(|pool| pool),
            pools: Mutex::default(),
        }))
    }

    /// Sets what each pool is like. Default: that of [`Connection::pool`](crate::Connection::pool).
    /// Pools made before stay with the group that this is made from.
    #[must_use]
    pub fn configure(
        self,
        configure: impl Fn(PoolBuilder) -> PoolBuilder + Send + Sync + 'static,
    ) -> Self {
        let earlier = self.0;
        Self(Arc::new(Inner {
            connection: Box::new(move |urls| (earlier.connection)(urls)),
            configure: Box::new(configure),
            pools: Mutex::default(),
        }))
    }

    /// The pool of connections to these URLs, made when first asked for. The same brokers with
    /// another user, virtual host or option are another pool.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectionBuilder::build`].
    pub fn connections(&self, urls: impl IntoUrls) -> Result<ConnectionPool> {
        let urls = urls.into_urls().map_err(|error| error.during("find the pool"))?;
        let mut pools = lock(&self.0.pools);
        if let Some(pool) = pools.get(&urls) {
            return Ok(pool.clone());
        }
        let connection = (self.0.connection)(urls.clone()).build()?;
        let pool = (self.0.configure)(connection.pool()).build();
        pools.insert(urls, pool.clone());
        Ok(pool)
    }

    /// The pool of producers for these URLs; it shares the limit of the connections.
    ///
    /// # Errors
    ///
    /// As for [`connections`](Self::connections).
    pub fn producers(&self, urls: impl IntoUrls) -> Result<ProducerPool> {
        self.connections(urls).map(|pool| pool.producers())
    }

    /// Closes all pools and forgets them; who asks again gets new ones.
    ///
    /// # Errors
    ///
    /// Those of the links; they are gone all the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: closing goes on in the background.
    pub async fn close(&self) -> Result<()> {
        let pools = std::mem::take(&mut *lock(&self.0.pools));
        join_all(pools.values().map(ConnectionPool::close)).await.into_iter().collect()
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&*lock(&self.0.pools)).finish()
    }
}
