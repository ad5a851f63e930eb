//! What only MongoDB shows: claims that end with their time, Python on the same queues, documents that are none, a
//! broadcast that others fill, outages. On the servers that the environment names, as
//! `cargo xtask test-brokers mongodb` sets it.
//!
//! What is the same for ZooKeeper is written there.

mod broadcast;
#[path = "../../../kombu-transport-zookeeper/tests/server/claims.rs"]
mod claims;
mod documents;
#[path = "../../../kombu-transport-zookeeper/tests/server/ground.rs"]
mod ground;
mod outages;
mod password;
#[path = "../../../kombu-transport-zookeeper/tests/server/python.rs"]
mod python;
mod together;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

/// What the modules that are shared with other transports need to know of this one.
mod here {
    use kombu_transport_mongodb::MongodbTransport;

    /// The variable with the server's URL.
    pub(crate) const URL: &str = "KOMBU_TEST_MONGODB_URL";

    /// The variable with the command that acts on the server.
    pub(crate) const CONTROL: &str = "KOMBU_TEST_MONGODB_CONTROL";

    /// The variable with the URL of the server that wants a password.
    pub(crate) const SECURED_URL: &str = "KOMBU_TEST_MONGODB_SECURED_URL";

    /// Programs that went silent are given up after two seconds.
    pub(crate) const IMPATIENT: &str = "visibility_timeout=2";

    /// How many messages a long queue has: FerretDB reads all that it counts, and deletes at most 32,766 at once.
    pub(crate) const BACKLOG: usize = 20_000;

    pub(crate) fn transport() -> MongodbTransport {
        MongodbTransport::new()
    }
}

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder) {
        return ended;
    }
    let cases = [
        broadcast::cases(),
        claims::cases(),
        documents::cases(),
        outages::cases(),
        password::cases(),
        python::cases(),
        together::cases(),
    ];
    kit::run(&[here::URL], cases.into_iter().flatten())
}
