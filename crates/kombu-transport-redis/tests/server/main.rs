//! What only Redis shows: records, leases, sockets, what befalls a server, Python on the same keys.
//! On the servers that the environment names, as `cargo xtask test-brokers redis` sets it.

mod case;
mod doomed;
mod failover;
mod ground;
mod kills;
mod leases;
mod outages;
mod peer;
mod python;
mod raw;
mod sockets;
mod traffic;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(ended) = doomed::requested() {
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
    let trials = cases.into_iter().flatten().map(case::Case::trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
