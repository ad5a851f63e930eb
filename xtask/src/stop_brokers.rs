//! `stop-brokers`: stops brokers that were left running.

use anyhow::{Context, Result};

use crate::brokers::run::Run;
use crate::flags::StopBrokers;

/// Runs the command.
pub(crate) fn run(flags: &StopBrokers) -> Result<()> {
    for run in chosen(&flags.runs)? {
        run.stop(false).with_context(|| format!("cannot stop the brokers of {}", run.name()))?;
        eprintln!("stopped {}", run.name());
    }
    Ok(())
}

/// The named runs; else the one in the environment; else all that nobody else will stop.
fn chosen(names: &[String]) -> Result<Vec<Run>> {
    let all = Run::all()?;
    if !names.is_empty() {
        return names
            .iter()
            .map(|name| {
                let run = all.iter().find(|run| run.name() == *name);
                run.cloned().with_context(|| format!("no brokers named {name}"))
            })
            .collect();
    }
    if let Some(run) = Run::current()? {
        return Ok(vec![run]);
    }
    let mut left = Vec::new();
    for run in all {
        if run.left_running()? {
            left.push(run);
        }
    }
    Ok(left)
}
