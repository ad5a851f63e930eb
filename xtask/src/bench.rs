//! `bench`: the comparison with raw drivers and with Python Kombu, on brokers started for it.

use anyhow::{Result, bail};

use crate::brokers::run::Run;
use crate::brokers::{install, start, transports};
use crate::cargo::cargo;
use crate::flags::Bench;
use crate::interrupt::Interrupt;
use crate::python;

/// Runs the command.
pub(crate) fn run(flags: &Bench, interrupt: &Interrupt) -> Result<()> {
    // What crates weigh takes no broker.
    let named: Vec<_> = flags.transports.iter().filter(|name| *name != "weight").cloned().collect();
    let chosen = match named.is_empty() && !flags.transports.is_empty() {
        true => Vec::new(),
        false => transports(&named)?,
    };
    // It compares with the driver of etcd, too.
    install::protoc()?;
    let interpreter = python::interpreter()?;
    let run = interrupt.guard(Run::create()?);
    start::start(&run, &chosen, flags.with.unwrap_or_default())?;
    let mut command = cargo();
    command
        .args(["run", "--release", "--package", "kombu-bench", "--"])
        .args(&flags.transports)
        .args(&flags.arguments)
        .envs(start::exports(&run)?)
        .env(python::VARIABLE, interpreter);
    if flags.transports.is_empty() && flags.arguments.is_empty() {
        // Everything, as it should be: that is what the page shows.
        command.args(["--markdown", "docs/benchmarks.md", "--svg", "docs/benchmarks.svg"]);
    }
    let (status, ()) = interrupt.run(&mut command, |_| ())?;
    if !status.success() {
        bail!("the benchmark ended with {status}");
    }
    Ok(())
}
