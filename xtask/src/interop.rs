//! `interop`: what users hold, on a real broker: live exchanges with Python Kombu, and the command `kombu`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::brokers::Transport;
use crate::interrupt::Interrupt;
use crate::paths;
use crate::python;
use crate::suite::{Outcome, TestProgram, count};

/// A test program that is no transport's own and runs on every transport's broker, its tests in modules named after
/// transports.
#[derive(Debug)]
struct Client {
    /// Its package.
    package: &'static str,
    /// Its target.
    target: &'static str,
    /// What the table calls it.
    title: &'static str,
    /// Whether it is about exchanges with Python.
    with_python: bool,
}

/// The test programs of what users hold.
const CLIENTS: &[Client] = &[
    Client { package: "kombu", target: "interop", title: "Rust and Python", with_python: true },
    Client { package: "kombu-cli", target: "broker", title: "command kombu", with_python: false },
];

/// Transports on a wire of their own, that Python's Kombu does not speak.
const WITHOUT_PYTHON: &[&str] = &["etcd"];

/// The packages that have these programs.
pub(crate) fn packages() -> impl Iterator<Item = String> {
    CLIENTS.iter().map(|client| client.package.to_owned())
}

/// Runs the clients of a transport on the broker of an environment.
///
/// First the Python peer against itself, so that a fault of the peer is not taken for one of ours.
pub(crate) fn exchange(
    transport: &Transport,
    programs: &[TestProgram],
    environment: &[(String, String)],
    interrupt: &Interrupt,
) -> Result<Vec<(&'static str, Outcome)>> {
    let with_python = !WITHOUT_PYTHON.contains(&transport.name);
    let url = value(environment, &transport.url_variable())?;
    let mut outcomes = Vec::new();
    if with_python {
        outcomes.push(("Python peer", script("check.py", url, environment, interrupt)?));
    }
    for client in CLIENTS.iter().filter(|client| with_python || !client.with_python) {
        let mut arguments = vec![format!("{}::", transport.name)];
        if client.with_python && url.starts_with("sqla+mysql") {
            // Two consumers of Python at once are the victims of each other's locks, on whatever queues.
            arguments.push("--test-threads=1".to_owned());
        }
        let mut outcome = Outcome::default();
        for program in programs {
            if program.package == client.package && program.target == client.target {
                outcome.add(program.run(interrupt, &arguments, environment)?);
            }
        }
        outcomes.push((client.title, outcome));
    }
    Ok(outcomes)
}

/// Lets Python read the bodies that tests hold ours equal to: every `interop/golden_<part>.py`.
pub(crate) fn golden(
    environment: &[(String, String)],
    interrupt: &Interrupt,
) -> Result<Vec<(String, Outcome)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(paths::workspace().join("interop"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("golden_") && name.ends_with(".py") {
            names.push(name);
        }
    }
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let outcome = script(&name, "check", environment, interrupt)?;
            Ok((name, outcome))
        })
        .collect()
}

/// Runs a Python script that ends with cargo's closing line.
fn script(
    name: &str,
    argument: &str,
    environment: &[(String, String)],
    interrupt: &Interrupt,
) -> Result<Outcome> {
    println!("\n     Running interop/{name}");
    let mut command = Command::new(value(environment, python::VARIABLE)?);
    command
        .arg(paths::workspace().join("interop").join(name))
        .arg(argument)
        // Nothing is left in the checkout.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().map(|(name, value)| (name, value)));
    count(interrupt, &mut command)
}

/// Finds a variable.
fn value<'all>(environment: &'all [(String, String)], name: &str) -> Result<&'all str> {
    let found = environment.iter().find(|(variable, _)| variable == name);
    let (_, value) = found.with_context(|| format!("{name} is not set"))?;
    Ok(value)
}
