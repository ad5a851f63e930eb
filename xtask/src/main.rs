//! The workspace's own commands; `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

mod bench;
mod brokers;
mod cargo;
mod ci;
mod control;
mod examples;
mod features;
mod flags;
mod interop;
mod interrupt;
mod licences;
mod list;
mod metadata;
mod paths;
mod python;
mod start_brokers;
mod stop_brokers;
mod suite;
mod table;
mod test_brokers;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::flags::{Command, Flags};
use crate::interrupt::Interrupt;
use crate::test_brokers::Scope;

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command that was asked for.
fn run(flags: Flags) -> Result<()> {
    let interrupt = Interrupt::new()?;
    match flags.command {
        Command::Bench(flags) => bench::run(&flags, &interrupt),
        Command::Ci(flags) => ci::run(&flags, &interrupt),
        Command::Control(flags) => control::run(&flags),
        Command::Features => features::run(&interrupt),
        Command::Interop(flags) => test_brokers::run(&flags, Scope::Interop, &interrupt),
        Command::Licences => licences::run(),
        Command::StartBrokers(flags) => start_brokers::run(&flags, &interrupt),
        Command::StopBrokers(flags) => stop_brokers::run(&flags),
        Command::TestBrokers(flags) => test_brokers::run(&flags, Scope::All, &interrupt),
        Command::Tidy => tidy::run(),
    }
}
