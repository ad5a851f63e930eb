//! Connections to be lent.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout, timeout_at};

use super::ProducerPool;
use super::slots::{Place, Slots};
use crate::connection::{Connection, ConnectionState};
use crate::error::{Error, ErrorKind, Result};
use crate::producer::Producer;

/// A pool under construction; [`build`](Self::build) makes it.
#[derive(Debug)]
#[must_use = "a pool lends nothing until it is built"]
pub struct PoolBuilder {
    template: Connection,
    limit: usize,
    wait: Duration,
    check_after: Duration,
}

impl Connection {
    /// Starts to configure a pool of connections with the URLs, transports and settings of this
    /// one, which itself is no part of it.
    ///
    /// # Kombu
    ///
    /// `Connection.Pool`.
    pub fn pool(&self) -> PoolBuilder {
        PoolBuilder {
            template: self.another(),
            limit: 10,
            wait: Duration::from_secs(30),
            check_after: Duration::from_secs(30),
        }
    }
}

impl PoolBuilder {
    /// The most connections; a pool of 0 lends nothing. Default: 10.
    pub fn limit(mut self, connections: usize) -> Self {
        self.limit = connections;
        self
    }

    /// How long [`ConnectionPool::acquire`] may take in all. Default: 30 s.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// A connection that was not lent for this long is asked for a sign of life before it is lent
    /// again. Default: 30 s.
    pub fn check_after(mut self, unused: Duration) -> Self {
        self.check_after = unused;
        self
    }

    /// Makes the pool. It connects when connections are asked for.
    #[must_use]
    pub fn build(self) -> ConnectionPool {
        ConnectionPool(Arc::new(Inner {
            template: self.template,
            slots: Slots::new(self.limit),
            wait: self.wait,
            check_after: self.check_after,
        }))
    }
}

/// Lends connections, at most a fixed number at a time. Cheap to clone; all clones are one pool.
///
/// A connection is lent with its link up: one that was closed meanwhile is replaced, one whose link
/// is down is waited for, one that was idle for long is asked for a sign of life first. The one that
/// came back last is lent next.
///
/// Dropping the pool ends the connections that are not lent, in the background; those that are lent
/// end when they come back. [`close`](Self::close) does so at once and waits.
///
/// # Kombu
///
/// `kombu.connection.ConnectionPool`. Asking a pool that is empty waits at most half a minute, where
/// Kombu's fails at once unless `block` is given, and then waits for ever. What comes back closed is
/// never lent again.
#[derive(Clone)]
pub struct ConnectionPool(Arc<Inner>);

struct Inner {
    /// Never connected: what others are made like.
    template: Connection,
    slots: Slots<Pooled>,
    wait: Duration,
    check_after: Duration,
}

/// A connection of the pool, with the producer that was made on it.
#[derive(Clone)]
struct Pooled {
    connection: Connection,
    producer: Option<Producer>,
    /// When it came back.
    since: Instant,
}

impl ConnectionPool {
    /// Borrows a connection: waits until one is free and its link is up, for as long as
    /// [`PoolBuilder::wait`] says.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` when none came back in time, `Timeout` and those of connecting when there is
    /// no link, `Closed` when the pool was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn acquire(&self) -> Result<PooledConnection> {
        self.acquire_within(self.0.wait).await
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
    pub async fn acquire_within(&self, wait: Duration) -> Result<PooledConnection> {
        let deadline = Instant::now() + wait;
        let place = self.0.slots.enter(deadline).await.map_err(explain)?;
        self.lend(place, deadline).await
    }

    /// Borrows a connection without waiting for others to give theirs back. It may still have to
    /// connect, for as long as [`PoolBuilder::wait`] says.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` when all are lent; the others as for [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn try_acquire(&self) -> Result<PooledConnection> {
        let place = self.0.slots.try_enter().map_err(explain)?;
        self.lend(place, Instant::now() + self.0.wait).await
    }

    /// The same pool, lending producers instead of connections: each has a connection of its own as
    /// long as it is lent.
    #[must_use]
    pub fn producers(&self) -> ProducerPool {
        ProducerPool::new(self.clone())
    }

    /// How long borrowing may take.
    pub(super) fn wait(&self) -> Duration {
        self.0.wait
    }

    /// The most connections.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.slots.limit()
    }

    /// How many connections are lent now.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.0.slots.taken()
    }

    /// Ends lending: who waits gets an error, idle connections are closed, and those that are lent
    /// when they come back. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// Those of the links; they are gone all the same.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: closing goes on in the background.
    pub async fn close(&self) -> Result<()> {
        let idle = self.0.slots.close();
        let closing = join_all(idle.iter().map(|pooled| pooled.connection.close())).await;
        closing.into_iter().collect()
    }

    async fn lend(&self, place: Place, deadline: Instant) -> Result<PooledConnection> {
        let pooled = self.0.slots.newest().unwrap_or_else(|| self.new_one());
        // From here on it goes back, whatever happens.
        let mut lent = PooledConnection { pool: self.clone(), pooled, place: Some(place) };
        self.revive(&mut lent.pooled, deadline).await.map_err(explain)?;
        Ok(lent)
    }

    fn new_one(&self) -> Pooled {
        let connection = self.0.template.another();
        Pooled { connection, producer: None, since: Instant::now() }
    }

    /// Makes sure that the link is up.
    async fn revive(&self, pooled: &mut Pooled, deadline: Instant) -> Result<()> {
        let fit = match pooled.connection.state() {
            ConnectionState::Closed => false,
            ConnectionState::Connected(_) if pooled.since.elapsed() >= self.0.check_after => {
                let alive = timeout(SIGN_OF_LIFE, pooled.connection.ping());
                matches!(timeout_at(deadline, alive).await, Ok(Ok(Ok(_))))
            }
            _ => true,
        };
        if !fit {
            // The old one ends in the background.
            *pooled = self.new_one();
        }
        timeout_at(deadline, pooled.connection.connect())
            .await
            .map_err(|_elapsed| Error::new(ErrorKind::Timeout, "no link within the time to wait"))?
    }
}

impl fmt::Debug for ConnectionPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionPool")
            .field("template", &self.0.template)
            .field("limit", &self.limit())
            .field("lent", &self.lent())
            .finish_non_exhaustive()
    }
}

/// A connection on loan. Dropped, it goes back to its pool; one that was closed is replaced there.
///
/// Clones of the connection, its producers and consumers stay usable after that, but the next
/// borrower has the same link.
#[must_use = "it goes back to its pool when dropped"]
pub struct PooledConnection {
    pool: ConnectionPool,
    pooled: Pooled,
    /// Taken when it is dropped.
    place: Option<Place>,
}

impl PooledConnection {
    /// The producer of this connection, made when first asked for.
    pub(super) async fn producer(&mut self, deadline: Instant) -> Result<Producer> {
        if let Some(producer) = &self.pooled.producer {
            return Ok(producer.clone());
        }
        let producer = timeout_at(deadline, self.pooled.connection.producer()).await;
        let producer = producer.map_err(|_elapsed| {
            explain(Error::new(ErrorKind::Timeout, "no channel within the time to wait"))
        })??;
        self.pooled.producer = Some(producer.clone());
        Ok(producer)
    }
}

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.pooled.connection
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        // One that was closed is not lent again; its place is free for a new one.
        if !matches!(self.pooled.connection.state(), ConnectionState::Closed) {
            self.pooled.since = Instant::now();
            self.pool.0.slots.give_back(self.pooled.clone(), place);
        }
    }
}

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledConnection").field(&**self).finish()
    }
}

fn explain(error: Error) -> Error {
    error.during("borrow a connection")
}

/// How long a connection that was idle for long has to show that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
