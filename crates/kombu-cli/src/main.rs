//! The command `kombu`.

mod arguments;
mod cli;
mod commands;
mod connect;
mod end;
#[cfg(test)]
#[cfg(feature = "memory")]
mod flows;
mod interrupt;
mod json_line;
mod log;
mod pair;
mod session;
mod settler;
mod usage;
mod window;

use std::ffi::OsString;
use std::process::ExitCode;

use tokio::runtime;

use crate::cli::Cli;
use crate::end::Stop;
use crate::interrupt::Interrupt;
use crate::session::Session;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match usage::parse(&arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    log::start(cli.verbose);
    let runtime = match runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end::report(Err(Stop::failed("cannot start", error))),
    };
    let code = runtime.block_on(run(cli));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> ExitCode {
    let outcome = match Interrupt::of_signals() {
        Ok(interrupt) => commands::run(cli.command, &mut Session::of_process(interrupt)).await,
        Err(error) => Err(Stop::failed("cannot listen for signals", error)),
    };
    end::report(outcome)
}
