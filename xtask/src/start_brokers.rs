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
    let interpreter = python::interpreter()?;
    let run = interrupt.guard(Run::create()?);
    start::start(&run, &transports, flags.with.unwrap_or_default())?;
    let mut exports = start::exports(&run)?;
    exports.push((python::VARIABLE.to_owned(), interpreter.display().to_string()));
    start::print_exports(&exports);
    run.release()?.say_how_to_stop();
    Ok(())
}
