//! What can be done to a running broker, so that tests see how a client takes it.

use anyhow::{Context, Result, bail};

use crate::brokers::node::Node;

/// What works on any broker.
const ACTIONS: &[&str] = &["restart", "crash", "stop", "kill", "start", "pause", "resume"];

/// Does an action and returns when its effect shows: a started broker serves, a stopped one is gone.
pub(crate) fn act(node: &mut Node, action: &str) -> Result<()> {
    let broker = node.broker()?;
    match action {
        "restart" => {
            node.stop()?;
            node.start()?;
            node.ready().map(drop)
        }
        "crash" => {
            node.kill()?;
            node.start()?;
            node.ready().map(drop)
        }
        "stop" => node.stop(),
        "kill" => node.kill(),
        "start" => {
            node.start()?;
            node.ready().map(drop)
        }
        "pause" => node.pause(),
        "resume" => node.resume(),
        _ if broker.actions().contains(&action) => broker.act(node, action),
        _ => bail!(
            "{} has no action {action}; it has {}",
            node.broker,
            [ACTIONS, broker.actions()].concat().join(", ")
        ),
    }
    .with_context(|| format!("cannot {action} {}", node.broker))
}
