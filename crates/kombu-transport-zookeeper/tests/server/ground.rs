//! Where the cases run: the servers' URL, queues of a case's own, connections.

use kombu_conformance::kit::{variable, with_options};
use kombu_core::{Connection, ConnectionBuilder, Queue};
use uuid::Uuid;

use crate::here;

/// The URL of the server, with options.
pub(crate) fn url(options: &str) -> String {
    with_options(&variable(here::URL).unwrap_or_default(), options)
}

/// A queue that no other case has.
pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(format!("ks-{name}-{}", Uuid::new_v4().simple()))
}

/// A connection to come, of a transport of its own, so that no other knows what it leaves.
pub(crate) fn builder(url: &str) -> ConnectionBuilder {
    Connection::builder(url).transport(here::transport())
}

/// A connection to the server.
pub(crate) async fn connect() -> kombu_core::Result<Connection> {
    builder(&url("")).connect().await
}
