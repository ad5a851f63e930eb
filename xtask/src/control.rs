//! `control`: acts on a running broker.

use anyhow::{Context, Result};

use crate::brokers::control;
use crate::brokers::run::{Run, STATE_VARIABLE, lock};
use crate::flags::Control;

/// Runs the command.
pub(crate) fn run(flags: &Control) -> Result<()> {
    let run = Run::current()?
        .with_context(|| format!("{STATE_VARIABLE} does not say which brokers are meant"))?;
    // One action after the other, each to its end.
    let _lock = lock(&run.dir().join("control.lock"))?;
    let started = run.update(|state| {
        let node = state
            .nodes
            .iter_mut()
            .find(|node| node.broker == flags.broker)
            .with_context(|| format!("{} does not run here", flags.broker))?;
        let waits = control::act(node, &flags.action)?;
        Ok(waits.then(|| node.clone()))
    })?;
    if let Some(node) = started {
        node.ready()?;
    }
    Ok(())
}
