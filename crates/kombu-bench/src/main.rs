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
mod stage;
mod weight;
mod work;
mod zookeeper;

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;

use crate::flags::{Flags, Part};
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
    for part in flags.parts() {
        match part {
            Part::Memory => report.cases.extend(rounds::run(memory::cases(&peer), &plan).await?),
            Part::Amqp => {
                let (url, broker) = (amqp::url()?, amqp::broker()?);
                report.machine.push(machine::server(&url).await?);
                let cases = amqp::cases(&url, broker, &peer);
                report.cases.extend(rounds::run(cases, &plan).await?);
                if flags.only.is_none() {
                    let all = resident::run(resident::AMQP, &url, &plan, peer.as_deref()).await?;
                    report.resident.extend(all);
                }
            }
            Part::Redis => {
                let (url, broker) = (redis::url()?, redis::broker()?);
                report.machine.push(machine::server(&url).await?);
                let cases = redis::cases(&url, broker, &peer);
                report.cases.extend(rounds::run(cases, &plan).await?);
                if flags.only.is_none() {
                    let all = resident::run(resident::REDIS, &url, &plan, peer.as_deref()).await?;
                    report.resident.extend(all);
                }
            }
            Part::Filesystem => {
                let ground = files::Ground::make()?;
                report.cases.extend(rounds::run(ground.cases(&peer), &plan).await?);
            }
            Part::Etcd => {
                let url = etcd::url()?;
                report.machine.push(machine::server(&url).await?);
                report.cases.extend(rounds::run(etcd::cases(&url), &plan).await?);
            }
            Part::Zookeeper => {
                let url = zookeeper::url()?;
                report.machine.push(machine::server(&url).await?);
                report.cases.extend(rounds::run(zookeeper::cases(&url, &peer), &plan).await?);
            }
            Part::Weight => report.weight.extend(weight::run(&plan).await?),
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
    Ok(())
}
