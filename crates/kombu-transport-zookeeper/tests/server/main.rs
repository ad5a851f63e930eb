//! What only ZooKeeper shows: claims that end with sessions, ensembles that lose their leader, ACLs, Python on the
//! same queues. On the servers that the environment names, as `cargo xtask test-brokers zookeeper` sets it.

mod acl;
mod case;
mod claims;
mod doomed;
mod ground;
mod leader;
mod limits;
mod python;
mod traffic;

use std::process::ExitCode;

/// What the modules that are shared with other transports need to know of this one.
mod here {
    use kombu_transport_zookeeper::ZooKeeperTransport;

    /// The part of the environment's variables that names the transport.
    pub(crate) const NAME: &str = "ZOOKEEPER";

    /// The variable with the URL of several servers, and that with the command that acts on them.
    pub(crate) const CLUSTER: [&str; 2] =
        ["KOMBU_TEST_ZOOKEEPER_ENSEMBLE_URL", "KOMBU_TEST_ZOOKEEPER_ENSEMBLE_CONTROL"];

    /// Programs that went silent are given up after two seconds.
    pub(crate) const IMPATIENT: &str = "session_timeout=2";

    pub(crate) fn transport() -> ZooKeeperTransport {
        ZooKeeperTransport::new()
    }
}

fn main() -> ExitCode {
    if let Some(ended) = doomed::requested() {
        return ended;
    }
    case::run([acl::cases(), claims::cases(), leader::cases(), limits::cases(), python::cases()])
}
