//! Where the cases run: the servers' URLs, keys of a case's own, and Python on the same keys.

use kombu_conformance::kit::{Peer, Result, variable, with_options};
use kombu_core::{Connection, ConnectionBuilder};
use kombu_transport_redis::RedisTransport;
use uuid::Uuid;

/// The URL in a variable, with options.
pub(crate) fn url(name: &str, options: &str) -> String {
    with_options(&variable(name).unwrap_or_default(), options)
}

/// A prefix of all keys that no other case has.
pub(crate) fn prefix(name: &str) -> String {
    format!("kr-{name}-{}-", Uuid::new_v4().simple())
}

/// A connection to come, of a transport of its own, so that no other knows what it leaves.
pub(crate) fn builder(prefix: &str, options: &str) -> ConnectionBuilder {
    builder_for(URL, prefix, options)
}

/// The same to the server in a variable.
pub(crate) fn builder_for(name: &str, prefix: &str, options: &str) -> ConnectionBuilder {
    let url = url(name, &format!("global_keyprefix={prefix}{options}"));
    Connection::builder(url).transport(RedisTransport::new()).client_name(prefix)
}

/// A connection; options begin with `&`.
pub(crate) async fn connect(prefix: &str, options: &str) -> kombu_core::Result<Connection> {
    builder(prefix, options).connect().await
}

/// A Python process whose keys have a prefix, and whose messages come back after a second.
pub(crate) fn python(prefix: &str) -> Result<Peer> {
    let keys = format!("global_keyprefix={prefix:?}");
    Peer::start(&url(URL, ""), &[&keys, "visibility_timeout=1"])
}

/// The variable with the server's URL.
pub(crate) const URL: &str = "KOMBU_TEST_REDIS_URL";

/// The variable with the command that acts on the server.
pub(crate) const CONTROL: &str = "KOMBU_TEST_REDIS_CONTROL";
