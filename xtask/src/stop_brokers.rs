//! `stop-brokers`: stops brokers that were left running.

use anyhow::{Context, Result, bail};

use crate::brokers::run::{Fate, Run};
use crate::flags::StopBrokers;

/// Runs the command.
pub(crate) fn run(flags: &StopBrokers) -> Result<()> {
    for run in chosen(flags)? {
        run.stop(false).with_context(|| format!("cannot stop the brokers of {}", run.name()))?;
        eprintln!("stopped {}", run.name());
    }
    Ok(())
}

/// The named runs; else the one in the environment; else the only one that was left running.
///
/// Runs whose command has died without stopping them are taken along: nobody else will.
fn chosen(flags: &StopBrokers) -> Result<Vec<Run>> {
    let all = Run::all()?;
    if !flags.runs.is_empty() {
        return flags
            .runs
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
    let (mut kept, mut orphaned) = (Vec::new(), Vec::new());
    for run in all {
        match run.fate()? {
            Fate::Kept => kept.push(run),
            Fate::Orphaned => orphaned.push(run),
            Fate::Owned => {}
        }
    }
    if kept.len() > 1 && !flags.all {
        let names: Vec<_> = kept.iter().map(Run::name).collect();
        bail!("several run, name one or say --all: {}", names.join(", "));
    }
    Ok([kept, orphaned].concat())
}
