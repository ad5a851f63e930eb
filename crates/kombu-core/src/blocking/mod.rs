//! The handles for programs without an async runtime: calls that return when they are done.
//!
//! Each connection has a thread of its own, on which links heal and heartbeats are sent; the calls
//! themselves run on the thread that makes them. Everything is `Send` and `Sync`.
//!
//! ```
//! # use kombu_core::{Connection, Exchange, Queue};
//! # use kombu_transport_memory::MemoryTransport;
//! # fn main() -> kombu_core::Result<()> {
//! # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
//! use kombu_core::blocking;
//! let media = Exchange::direct("media");
//! let videos = Queue::new("video").bind(&media, "video");
//!
//! let connection = blocking::Connection::connect(builder)?;
//! let mut consumer = connection.consume(&videos)?;
//! let producer = connection.producer()?;
//! producer.publish("cats", |message| message.to(&media, "video").priority(5))?;
//!
//! for delivery in consumer.by_ref().take(1) {
//!     let delivery = delivery?;
//!     assert_eq!(delivery.decode::<String>()?, "cats");
//!     delivery.ack()?;
//! }
//! consumer.close()?;
//! connection.close()
//! # }
//! ```
//!
//! # Inside of a runtime
//!
//! A call made by async code works too and does not panic, but it holds up the thread that it is
//! made on: make it where blocking is allowed, such as in `tokio::task::spawn_blocking`, or use the
//! async handles.
//!
//! # Kombu
//!
//! Kombu's own API blocks. There `drain_events` also has to be called for anything to happen; here
//! nothing waits for that.

mod connection;
mod consumer;
mod link;
mod producer;

pub use connection::Connection;
pub use consumer::{Consumer, Delivery};
pub use producer::Producer;
