//! What only etcd shows: claims that end with leases, clusters that lose their leader, users without rights. On the
//! servers that the environment names, as `cargo xtask test-brokers etcd` sets it.
//!
//! What is the same for ZooKeeper is written there.

#[path = "../../../kombu-transport-zookeeper/tests/server/claims.rs"]
mod claims;
#[path = "../../../kombu-transport-zookeeper/tests/server/ground.rs"]
mod ground;
#[path = "../../../kombu-transport-zookeeper/tests/server/leader.rs"]
mod leader;
mod users;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

/// What the modules that are shared with other transports need to know of this one.
mod here {
    use kombu_transport_etcd::EtcdTransport;

    /// The variable with the server's URL.
    pub(crate) const URL: &str = "KOMBU_TEST_ETCD_URL";

    /// The variable with the URL of several servers, and that with the command that acts on them.
    pub(crate) const CLUSTER: [&str; 2] =
        ["KOMBU_TEST_ETCD_CLUSTER_URL", "KOMBU_TEST_ETCD_CLUSTER_CONTROL"];

    /// Programs that went silent are given up after two seconds.
    pub(crate) const IMPATIENT: &str = "lease_ttl=2";

    /// How many messages a long queue has.
    pub(crate) const BACKLOG: usize = 100_000;

    pub(crate) fn transport() -> EtcdTransport {
        EtcdTransport::new()
    }
}

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder) {
        return ended;
    }
    let cases = [claims::cases(), leader::cases(), users::cases()];
    kit::run(&[here::URL], cases.into_iter().flatten())
}
