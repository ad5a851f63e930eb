//! Requests and replies, over `reply_to` and `correlation_id`.
//!
//! [`RpcServer`] answers requests with what a function makes of them, [`RpcClient`] calls. Either
//! works with a Python program at the other end: a request and a reply are plain messages.
//!
//! ```
//! # use kombu_core::Connection;
//! # use kombu_transport_memory::MemoryTransport;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
//! # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
//! let connection = builder.connect().await?;
//! let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
//! let server = connection.rpc_server("add").start().await?;
//! let serving = tokio::spawn(server.serve(
//!     async { drop(stopped.await) },
//!     |(a, b): (i64, i64)| async move { a.checked_add(b).ok_or("too large") },
//! ));
//!
//! let client = connection.rpc_client().start().await?;
//! let sum: i64 = client.call("add", &(1, 2)).await?;
//! assert_eq!(sum, 3);
//! let error = client.call::<_, i64>("add", &(i64::MAX, 1)).await.unwrap_err();
//! assert_eq!(error.to_string(), "cannot call: the other side failed: too large (queue=add)");
//!
//! client.close().await?;
//! drop(stop);
//! serving.await.expect("it did not panic")
//! # }
//! ```
//!
//! [`Producer::reply`](crate::Producer::reply) and [`collect_replies`] are the parts below that:
//! an answer to any delivery, and the answers of many.
//!
//! # On the wire
//!
//! A request has `reply_to`, the name of a queue, and `correlation_id`. The reply goes to that queue
//! through the default exchange, with the same `correlation_id`. A reply that has the header
//! `rpc-error`, a text, is a [`failure`](failure()); its body is null.
//!
//! # Kombu
//!
//! `send_reply`, `collect_replies` and `uuid` of `kombu.common`. Client and server have no
//! counterpart there.

mod calls;
mod client;
mod collect;
mod reply_queue;
mod server;

pub use client::{Call, RpcClient, RpcClientBuilder, failure};
pub use collect::collect_replies;
pub use reply_queue::reply_queue;
pub use server::{RpcServer, RpcServerBuilder};

/// The header of a reply that is a failure.
const ERROR_HEADER: &str = "rpc-error";
