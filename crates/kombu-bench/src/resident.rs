//! How much memory a client takes: a fresh process per measurement, and the kernel's own figure
//! for the most that was resident.

use std::env;
use std::fs;
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;
use tokio::process::Command;

use crate::amqp;
use crate::body::Body;
use crate::case::PYTHON;
use crate::flags::{Flags, Plan};
use crate::ours;
use crate::peer::{self, Peer};
use crate::stage;
use crate::work::Work;

/// What the fresh process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Consumes with Kombu for Rust.
    Consume,
    /// Consumes with amqprs.
    ConsumeAmqprs,
    /// Publishes with Kombu for Rust, 1000 unconfirmed at most.
    Publish,
}

/// What a process took.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) who: &'static str,
    pub(crate) broker: &'static str,
    pub(crate) what: String,
    pub(crate) memory: Memory,
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Memory {
    /// Before the work.
    pub(crate) first: u64,
    /// The most of all times.
    pub(crate) peak: u64,
}

/// A broker, and who consumes from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    broker: &'static str,
    consumers: &'static [(&'static str, Role)],
}

pub(crate) const AMQP: Ground = Ground {
    broker: "AMQP",
    consumers: &[("kombu", Role::Consume), ("raw amqprs", Role::ConsumeAmqprs)],
};
pub(crate) const REDIS: Ground = Ground { broker: "Redis", consumers: &[("kombu", Role::Consume)] };

/// Measures everyone on one queue of a million messages.
pub(crate) async fn run(
    ground: Ground,
    url: &str,
    plan: &Plan,
    peer: Option<&Peer>,
) -> Result<Vec<Resident>> {
    let (messages, consumed) = if plan.quick { (2000, 200) } else { (1_000_000, 100_000) };
    let queue = format!("kombu-bench-resident-{}", std::process::id());
    eprintln!("resident memory, {}, a queue of {messages} messages", ground.broker);
    let stage = stage::open(url).await?;
    stage.fresh(&queue).await?;
    let result = measure(ground, url, &queue, messages, consumed, peer.is_some()).await;
    stage.delete(&queue).await?;
    stage.close().await?;
    result
}

async fn measure(
    ground: Ground,
    url: &str,
    queue: &str,
    messages: u64,
    consumed: u64,
    with_python: bool,
) -> Result<Vec<Resident>> {
    let broker = ground.broker;
    let consuming = format!("consumes {consumed} of {messages}, prefetch 100");
    let mut all = vec![Resident {
        who: "kombu",
        broker,
        what: format!("publishes {messages}, 1000 unconfirmed at most"),
        memory: measure_role(Role::Publish, url, queue, messages).await?,
    }];
    for (who, role) in ground.consumers {
        let memory = measure_role(*role, url, queue, consumed).await?;
        all.push(Resident { who, broker, what: consuming.clone(), memory });
    }
    if with_python && let Some(answer) = peer::resident(url, queue, consumed).await? {
        let memory = serde_json::from_value(answer)?;
        all.push(Resident { who: PYTHON, broker, what: consuming, memory });
    }
    Ok(all)
}

/// Runs a role in a fresh process.
async fn measure_role(role: Role, url: &str, queue: &str, count: u64) -> Result<Memory> {
    let name = role.to_possible_value().context("a role without a name")?;
    let output = Command::new(env::current_exe()?)
        .args(["--resident", name.get_name(), "--url", url])
        .args(["--queue", queue, "--count", &count.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "the process that was measured failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The fresh process: does its work and prints what memory it took.
pub(crate) async fn child(role: Role, flags: &Flags) -> Result<()> {
    let work = Work {
        url: flags.url.clone(),
        queue: flags.queue.clone(),
        body: Body::of(100)?,
        count: flags.count,
        prefetch: 100,
        window: 1000,
        broker: None,
    };
    let first = kib("VmRSS")?;
    match role {
        Role::Consume => ours::consume_as_resident(&work).await?,
        Role::ConsumeAmqprs => amqp::consume_with_amqprs(&work).await?,
        Role::Publish => ours::publish_as_resident(&work).await?,
    }
    println!("{{\"first\": {first}, \"peak\": {}}}", kib("VmHWM")?);
    Ok(())
}

/// One of the kernel's figures about this process.
fn kib(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(value.with_context(|| format!("the kernel does not say {name}"))?.parse()?)
}
