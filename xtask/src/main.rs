//! The workspace's own commands; `cargo xtask help` lists them.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

mod brokers;
mod control;
mod flags;
mod interrupt;
mod paths;
mod python;
mod start_brokers;
mod stop_brokers;

use anyhow::Result;
use clap::Parser;

use crate::flags::{Command, Flags};
use crate::interrupt::Interrupt;

fn main() -> Result<()> {
    let flags = Flags::parse();
    let interrupt = Interrupt::new()?;
    match flags.command {
        Command::Control(flags) => control::run(&flags),
        Command::StartBrokers(flags) => start_brokers::run(&flags, &interrupt),
        Command::StopBrokers(flags) => stop_brokers::run(&flags),
    }
}
