//! Remote control: nodes that answer calls by name, as those of Celery do.
//!
//! A [`Mailbox`] is a namespace on a broker. A [`Node`] listens in it, and answers
//! [calls](Mailbox::call) that are made to it by name, by a [pattern](Matcher) or to all.
//!
//! ```
//! # use kombu_transport_memory::MemoryTransport;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> kombu_core::Result<()> {
//! use kombu_core::mailbox::{Mailbox, Request};
//! # let connection = kombu_core::Connection::builder("memory://")
//! #     .transport(MemoryTransport::new()).connect().await?;
//!
//! let mailbox = Mailbox::new(&connection, "encoders");
//! let node = mailbox
//!     .node("one")
//!     .on("double", async |request: Request| request.argument::<i64>("n").map(|n| 2 * n))
//!     .listen()
//!     .await?;
//! let node = tokio::spawn(node.run(std::future::pending()));
//!
//! let replies = mailbox.call(["one"], "double").argument("n", 21).await?;
//! assert_eq!(replies[0].node, "one");
//! assert_eq!(replies[0].decode::<i64>()?, 42);
//! # node.abort();
//! # connection.close().await
//! # }
//! ```
//!
//! # Kombu
//!
//! `kombu.pidbox`, on the same wire. Every call has a reply queue of its own, so that no reply is
//! kept for a call that is over; its timeout is for all of it, there it is for silence.

mod call;
mod listener;
mod matcher;
mod node;
mod place;
mod wire;

pub use call::{Call, Cast, Replies, Reply};
pub use listener::Listener;
pub use matcher::Matcher;
pub use node::{Node, Request};
pub use place::Mailbox;
