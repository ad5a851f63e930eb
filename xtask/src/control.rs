//! `control`: acts on a running broker.

use anyhow::{Context, Result};

use crate::brokers::control;
use crate::brokers::run::{Run, STATE_VARIABLE};
use crate::flags::Control;

/// Runs the command.
pub(crate) fn run(flags: &Control) -> Result<()> {
    let run = Run::current()?
        .with_context(|| format!("{STATE_VARIABLE} does not say which brokers are meant"))?;
    run.update(|state| {
        let node = state
            .nodes
            .iter_mut()
            .find(|node| node.broker == flags.broker)
            .with_context(|| format!("{} does not run here", flags.broker))?;
        control::act(node, &flags.action)
    })
}
