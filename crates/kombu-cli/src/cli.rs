//! The command line: every subcommand, declared once. Each has its arguments in its own file.

use clap::{ArgAction, Parser, Subcommand};

use crate::commands::{
    consume, control, delete, r#move, ping, publish, purge, rpc, size, top, transports,
};

/// Publishes, consumes, moves and counts messages, and calls servers, on any broker that Kombu
/// speaks to.
///
/// URL is a broker's address, such as amqp://user:password@host:5672/vhost; several joined by ";"
/// stand in for each other. `kombu transports` lists the schemes.
#[derive(Parser)]
#[command(name = "kombu", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Logs to standard error: -v what happens, -vv also why, -vvv everything.
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 1000)]
    pub(crate) verbose: u8,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Publish(publish::Publish),
    Consume(consume::Consume),
    Control(control::Control),
    Size(size::Size),
    Purge(purge::Purge),
    Delete(delete::Delete),
    Move(r#move::Move),
    Rpc(rpc::Rpc),
    Top(top::Top),
    Ping(ping::Ping),
    Transports(transports::Transports),
}

const EXIT_CODES: &str = "\
Exit codes:
  0    all of it was done
  1    something failed: one line on standard error says what, and why
  2    the command line is wrong
  3    a timeout ended it before the count was reached
  130  an interrupt (Ctrl-C, SIGTERM) ended it; nothing is lost. A second one ends it at once.";
