//! What only MongoDB shows: claims that end with their time, Python on the same queues, documents that are none. On the
//! server that the environment names, as `cargo xtask test-brokers mongodb` sets it.
//!
//! What is the same for ZooKeeper is written there.

#[path = "../../../kombu-transport-zookeeper/tests/server/case.rs"]
mod case;
#[path = "../../../kombu-transport-zookeeper/tests/server/claims.rs"]
mod claims;
mod documents;
#[path = "../../../kombu-transport-zookeeper/tests/server/doomed.rs"]
mod doomed;
#[path = "../../../kombu-transport-zookeeper/tests/server/ground.rs"]
mod ground;
#[path = "../../../kombu-transport-zookeeper/tests/server/python.rs"]
mod python;

use std::process::ExitCode;

/// What the modules that are shared with other transports need to know of this one.
mod here {
    use kombu_transport_mongodb::MongodbTransport;

    /// The part of the environment's variables that names the transport.
    pub(crate) const NAME: &str = "MONGODB";

    /// Programs that went silent are given up after two seconds.
    pub(crate) const IMPATIENT: &str = "visibility_timeout=2";

    pub(crate) fn transport() -> MongodbTransport {
        MongodbTransport::new()
    }
}

fn main() -> ExitCode {
    if let Some(ended) = doomed::requested() {
        return ended;
    }
    // FerretDB reads and sorts all that waits in a queue for each look at it.
    let claims = claims::cases().into_iter();
    let claims = claims.filter(|case| case.name != "the_length_of_a_queue_does_not_matter");
    case::run([claims.collect(), documents::cases(), python::cases()])
}
