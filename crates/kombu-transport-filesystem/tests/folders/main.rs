//! What only folders show: files and their names, processes that are killed, what disks and
//! neighbours do, Python on the same files.
//!
//! The cases with Python need `KOMBU_INTEROP_PYTHON`, which `cargo xtask test-brokers filesystem`
//! sets.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod faults;
mod files;
mod ground;
mod kills;
mod python;
mod syncs;
mod wakes;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder).or_else(syncs::requested) {
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
    kit::run(&[], cases.into_iter().flatten())
}
