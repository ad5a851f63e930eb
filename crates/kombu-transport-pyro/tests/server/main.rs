//! What only Pyro shows: name servers, keys, links that are given up and what they held, daemons that restart with
//! nothing, Python on the same queues. On the broker that the environment names, as `cargo xtask test-brokers pyro`
//! sets it.

#[path = "../detour/mod.rs"]
mod detour;
mod ground;
mod limits;
mod links;
mod names;
mod own;
mod python;

use std::process::ExitCode;

use kombu_conformance::kit::{self, process};

fn main() -> ExitCode {
    if let Some(ended) = process::work(ground::builder) {
        return ended;
    }
    let cases = [limits::cases(), links::cases(), names::cases(), python::cases()];
    kit::run(&[ground::URL], cases.into_iter().flatten())
}
