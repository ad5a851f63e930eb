//! Producers to be lent.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use tokio::time::Instant;

use super::{ConnectionPool, PooledConnection};
use crate::error::Result;
use crate::producer::Producer;

/// Lends producers, each with a connection of the pool that it was made from. Cheap to clone.
///
/// # Kombu
///
/// `kombu.pools.ProducerPool`. Producers and connections of one pool share its limit.
#[derive(Clone, Debug)]
pub struct ProducerPool {
    connections: ConnectionPool,
}

impl ProducerPool {
    pub(super) fn new(connections: ConnectionPool) -> Self {
        Self { connections }
    }

    /// Borrows a producer. See [`ConnectionPool::acquire`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn acquire(&self) -> Result<PooledProducer> {
        self.acquire_within(self.connections.wait()).await
    }

    /// As [`acquire`](Self::acquire), with a time of its own.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn acquire_within(&self, wait: Duration) -> Result<PooledProducer> {
        let deadline = Instant::now() + wait;
        let connection = self.connections.acquire_within(wait).await?;
        PooledProducer::new(connection, deadline).await
    }

    /// Borrows a producer without waiting for others to give theirs back. See
    /// [`ConnectionPool::try_acquire`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn try_acquire(&self) -> Result<PooledProducer> {
        let deadline = Instant::now() + self.connections.wait();
        let connection = self.connections.try_acquire().await?;
        PooledProducer::new(connection, deadline).await
    }

    /// The pool that the connections come from.
    #[must_use]
    pub fn connections(&self) -> &ConnectionPool {
        &self.connections
    }
}

/// A producer on loan. Dropped, it goes back to its pool.
#[must_use = "it goes back to its pool when dropped"]
pub struct PooledProducer {
    producer: Producer,
    /// Goes back with this.
    _connection: PooledConnection,
}

impl PooledProducer {
    async fn new(mut connection: PooledConnection, deadline: Instant) -> Result<Self> {
        let producer = connection.producer(deadline).await?;
        Ok(Self { producer, _connection: connection })
    }
}

impl Deref for PooledProducer {
    type Target = Producer;

    fn deref(&self) -> &Producer {
        &self.producer
    }
}

impl fmt::Debug for PooledProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledProducer").field(&self.producer).finish()
    }
}
