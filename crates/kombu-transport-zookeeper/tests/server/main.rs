//! What only ZooKeeper shows: claims that end with sessions, ensembles that lose their leader, ACLs, Python on the
//! same queues. On the servers that the environment names, as `cargo xtask test-brokers zookeeper` sets it.

mod acl;
mod claims;
mod ground;
mod leader;
mod limits;
mod python;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

/// What the modules that are shared with other transports need to know of this one.
mod here {
    use kombu_transport_zookeeper::ZooKeeperTransport;

    /// The variable with the server's URL.
    pub(crate) const URL: &str = "KOMBU_TEST_ZOOKEEPER_URL";

    /// The variable with the URL of several servers, and that with the command that acts on them.
    pub(crate) const CLUSTER: [&str; 2] =
        ["KOMBU_TEST_ZOOKEEPER_ENSEMBLE_URL", "KOMBU_TEST_ZOOKEEPER_ENSEMBLE_CONTROL"];

    /// Programs that went silent are given up after two seconds.
    pub(crate) const IMPATIENT: &str = "session_timeout=2";

    /// How many messages a long queue has.
    pub(crate) const BACKLOG: usize = 100_000;

    pub(crate) fn transport() -> ZooKeeperTransport {
        ZooKeeperTransport::new()
    }
}

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder) {
        return ended;
    }
    let cases = [acl::cases(), claims::cases(), leader::cases(), limits::cases(), python::cases()];
    kit::run(&[here::URL], cases.into_iter().flatten())
}
