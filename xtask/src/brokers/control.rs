//! What can be done to a running broker, so that tests see how a client takes it.

use anyhow::{Context, Result, bail};

use crate::brokers::node::Node;

/// What works on any broker.
const ACTIONS: &[&str] = &["restart", "crash", "stop", "kill", "start", "pause", "resume"];

/// Does an action, up to the moment from which the broker has to be waited for.
///
/// Returns whether it has to: a broker that was started serves only some time later. By then its process is noted,
/// so that it can be stopped whatever becomes of the waiting.
pub(crate) fn act(node: &mut Node, action: &str) -> Result<bool> {
    let broker = node.broker()?;
    let starts = matches!(action, "restart" | "crash" | "start");
    match action {
        "restart" => node.stop().and_then(|()| node.start()),
        "crash" => node.kill().and_then(|()| node.start()),
        "stop" => node.stop(),
        "kill" => node.kill(),
        "start" => node.start(),
        "pause" => node.pause(),
        "resume" => node.resume(),
        _ if broker.actions().contains(&action) => broker.act(node, action),
        _ => bail!(
            "{} has no action {action}; it has {}",
            node.broker,
            [ACTIONS, broker.actions()].concat().join(", ")
        ),
    }
    .with_context(|| format!("cannot {action} {}", node.broker))?;
    Ok(starts)
}
