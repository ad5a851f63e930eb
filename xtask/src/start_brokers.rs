//! `start-brokers`: starts brokers and leaves them running.

use anyhow::Result;

use crate::brokers::run::Run;
use crate::brokers::{start, transports};
use crate::flags::StartBrokers;
use crate::interrupt::Interrupt;
use crate::python;

/// Runs the command. Standard output has nothing but lines for a shell to evaluate.
pub(crate) fn run(flags: &StartBrokers, interrupt: &Interrupt) -> Result<()> {
    let transports = transports(&flags.transports)?;
    let python = python::interpreter()?;
    let run = interrupt.guard(Run::create()?);
    start::start(&run, &transports, flags.with.unwrap_or_default())?;
    let run = run.release()?;
    for (name, value) in start::exports(&run)? {
        println!("export {name}='{value}'");
    }
    println!("export {}='{}'", python::VARIABLE, python.display());
    eprintln!("to stop them: cargo xtask stop-brokers {}", run.name());
    Ok(())
}
