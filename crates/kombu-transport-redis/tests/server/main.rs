//! What only Redis shows: records, leases, sockets, what befalls a server, Python on the same keys.
//! On the servers that the environment names, as `cargo xtask test-brokers redis` sets it.

mod failover;
mod ground;
mod kills;
mod leases;
mod outages;
mod python;
mod raw;
mod sockets;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};
use kombu_core::Connection;
use kombu_transport_redis::RedisTransport;

fn main() -> ExitCode {
    let connect = |url: &str| Connection::builder(url).transport(RedisTransport::new());
    if let Some(ended) = process::work(connect) {
        return ended;
    }
    let cases = [
        failover::cases(),
        kills::cases(),
        leases::cases(),
        outages::cases(),
        python::cases(),
        sockets::cases(),
    ];
    kit::run(&[ground::URL], cases.into_iter().flatten())
}
