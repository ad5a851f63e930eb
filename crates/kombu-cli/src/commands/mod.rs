//! The subcommands, a file each.

pub(crate) mod consume;
pub(crate) mod control;
pub(crate) mod delete;
pub(crate) mod r#move;
pub(crate) mod ping;
pub(crate) mod publish;
pub(crate) mod purge;
pub(crate) mod rpc;
pub(crate) mod size;
pub(crate) mod top;
pub(crate) mod transports;

use crate::cli::Command;
use crate::end::Outcome;
use crate::session::Session;

/// Runs a subcommand.
pub(crate) async fn run(command: Command, session: &mut Session) -> Outcome {
    match command {
        Command::Publish(publish) => publish.run(session).await,
        Command::Consume(consume) => consume.run(session).await,
        Command::Control(control) => control.run(session).await,
        Command::Size(size) => size.run(session).await,
        Command::Purge(purge) => purge.run(session).await,
        Command::Delete(delete) => delete.run(session).await,
        Command::Move(r#move) => r#move.run(session).await,
        Command::Rpc(rpc) => rpc.run(session).await,
        Command::Top(top) => top.run(session).await,
        Command::Ping(ping) => ping.run(session).await,
        Command::Transports(transports) => transports.run(session),
    }
}
