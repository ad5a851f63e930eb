//! `interop`: live exchanges between this workspace and Python Kombu over a real broker.

use std::process::Command;

use anyhow::{Context, Result};

use crate::brokers::Transport;
use crate::interrupt::Interrupt;
use crate::paths;
use crate::python;
use crate::suite::{Outcome, TestProgram, count};

/// The umbrella's test program that talks to the Python peer.
const TARGET: &str = "interop";

/// Runs the exchanges of a transport on the broker of an environment.
///
/// First the Python peer against itself, so that a fault of the peer is not taken for one of ours; then
/// the umbrella's tests named after the transport, with both directions.
pub(crate) fn exchange(
    transport: &Transport,
    programs: &[TestProgram],
    environment: &[(String, String)],
    interrupt: &Interrupt,
) -> Result<Vec<(&'static str, Outcome)>> {
    let value = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_str())
    };
    let url = value(&transport.url_variable()).context("no URL")?;
    let python = value(python::VARIABLE).context("no Python")?;
    println!("\n     Running interop/check.py on {}", transport.name);
    let mut check = Command::new(python);
    check
        .arg(paths::workspace().join("interop/check.py"))
        .arg(url)
        .envs(environment.iter().map(|(name, value)| (name, value)));
    let check = count(interrupt, &mut check)?;

    let mut outcome = Outcome::default();
    for program in programs {
        if program.package == "kombu" && program.target == TARGET {
            let filter = [format!("{}::", transport.name)];
            outcome.add(program.run(interrupt, &filter, environment)?);
        }
    }
    Ok(vec![("Python peer", check), ("Rust and Python", outcome)])
}
