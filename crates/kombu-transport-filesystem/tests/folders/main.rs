//! What only folders show: files and their names, processes that are killed, what disks and
//! neighbours do, Python on the same files.
//!
//! The cases with Python need `KOMBU_INTEROP_PYTHON`, which `cargo xtask test-brokers filesystem`
//! sets.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod case;
mod doomed;
mod faults;
mod files;
mod ground;
mod kills;
mod peer;
mod python;
mod syncs;
mod wakes;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    if let Some(ended) = doomed::requested() {
        return ended;
    }
    let cases = [
        faults::cases(),
        files::cases(),
        kills::cases(),
        python::cases(),
        syncs::cases(),
        wakes::cases(),
    ];
    let trials = cases.into_iter().flatten().map(case::Case::trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
