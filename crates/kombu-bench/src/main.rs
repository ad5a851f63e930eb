//! Compares Kombu for Rust with raw drivers and with Python's Kombu, on the same broker in one run.
//!
//! `cargo xtask bench` starts what it needs and runs it; `docs/benchmarks.md` says how it measures.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its terminal"
)]

mod amqp;
mod body;
mod broker;
mod case;
mod etcd;
mod files;
mod flags;
mod machine;
mod memory;
mod meter;
mod ours;
mod peer;
mod redis;
mod report;
mod resident;
mod rounds;
mod sample;
mod sql;
mod stage;
mod weight;
mod work;
mod zookeeper;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::flags::{Flags, Part, Plan};
use crate::peer::Peer;
use crate::report::Report;

fn main() -> ExitCode {
    let flags = Flags::parse();
    // As many as the machines that these measurements are compared on have cores.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error).context("cannot start the runtime"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures what the flags ask for, and reports it.
async fn run(flags: Flags) -> Result<()> {
    if let Some(role) = flags.resident {
        return resident::child(role, &flags).await;
    }
    let peer = Peer::start().await?.map(Arc::new);
    let mut report = Report::new(machine::describe(peer.as_deref()).await);
    let plan = flags.plan();
    let mut failed = Vec::new();
    for part in flags.parts() {
        // What others measured is not lost for it.
        if let Err(error) = measure(part, &flags, &plan, &peer, &mut report).await {
            eprintln!("error: {part:?}: {error:#}");
            failed.push(part);
        }
    }
    println!("{}", report.text());
    if let Some(file) = &flags.markdown {
        fs::write(file, report.markdown(flags.svg.as_deref()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &flags.svg {
        fs::write(file, report.svg())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    ensure!(failed.is_empty(), "not measured to the end: {failed:?}");
    Ok(())
}

/// Measures one part.
async fn measure(
    part: Part,
    flags: &Flags,
    plan: &Plan,
    peer: &Option<Arc<Peer>>,
    report: &mut Report,
) -> Result<()> {
    // A broker is named once it is measured, and clients are weighed unless a case is chosen.
    let weighed = |ground| flags.only.is_none().then_some(ground);
    let (url, cases, ground) = match part {
        Part::Memory => (None, memory::cases(peer), None),
        Part::Amqp => {
            let url = amqp::url()?;
            let cases = amqp::cases(&url, amqp::broker()?, peer);
            (Some(url), cases, weighed(resident::AMQP))
        }
        Part::Redis => {
            let url = redis::url()?;
            let cases = redis::cases(&url, redis::broker()?, peer);
            (Some(url), cases, weighed(resident::REDIS))
        }
        Part::Filesystem => {
            let folders = files::Ground::make()?;
            report.cases.extend(rounds::run(folders.cases(peer), plan).await?);
            return Ok(());
        }
        Part::Sql => {
            let database = sql::Ground::make()?;
            report.cases.extend(rounds::run(database.cases(peer), plan).await?);
            return Ok(());
        }
        Part::Etcd => {
            let url = etcd::url()?;
            let cases = etcd::cases(&url);
            (Some(url), cases, None)
        }
        Part::Zookeeper => {
            let url = zookeeper::url()?;
            let cases = zookeeper::cases(&url, peer);
            (Some(url), cases, None)
        }
        Part::Weight => {
            report.weight.extend(weight::run(plan).await?);
            return Ok(());
        }
    };
    if let Some(url) = &url {
        report.machine.push(machine::server(url).await?);
    }
    report.cases.extend(rounds::run(cases, plan).await?);
    if let (Some(url), Some(ground)) = (&url, ground) {
        report.resident.extend(resident::run(ground, url, plan, peer.as_deref()).await?);
    }
    Ok(())
}
