//! Pools: a bounded number of connections, lent to whoever needs one.
//!
//! One [`Connection`](crate::Connection) carries as many tasks as a program has, so most programs
//! need no pool. A pool is for programs that want several links: to spread load, to keep a bound on
//! the sockets of one process, or one link for each unit of work.
//!
//! ```
//! # use kombu_core::{Connection, ErrorKind};
//! # use kombu_transport_memory::MemoryTransport;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
//! let connection = Connection::builder("memory://").transport(MemoryTransport::new()).build()?;
//! let pool = connection.pool().limit(2).build();
//!
//! let one = pool.acquire().await?;
//! let two = pool.acquire().await?;
//! one.producer().await?.publish("cats").to("", "video").await?;
//! assert_eq!(pool.try_acquire().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
//!
//! drop(two); // It is back in the pool, and the next to be lent.
//! let producer = pool.producers().acquire().await?;
//! producer.publish("dogs").to("", "video").await?;
//! pool.close().await
//! # }
//! ```
//!
//! [`Pools`] keeps one pool for each URL, without any global behind it.

mod connection;
mod group;
mod producer;
mod slots;

pub use connection::{ConnectionPool, PoolBuilder, PooledConnection};
pub use group::Pools;
pub use producer::{PooledProducer, ProducerPool};
