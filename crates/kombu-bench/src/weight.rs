//! What depending on the crate `kombu` costs: crates in the graph, and time to build from nothing.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::flags::Plan;

/// What one set of features costs.
#[derive(Debug)]
pub(crate) struct Weight {
    pub(crate) features: &'static str,
    /// Crates that are compiled, build scripts and macros included.
    pub(crate) crates: usize,
    /// A cold build with `dev` and with `release`; none if it was not measured.
    pub(crate) builds: Option<(Duration, Duration)>,
}

/// Counts and builds.
pub(crate) async fn run(plan: &Plan) -> Result<Vec<Weight>> {
    let mut weights = Vec::new();
    for (features, arguments, built) in SETS {
        eprintln!("weight, {features}");
        let crates = crates(arguments).await?;
        if features.contains("memory") {
            let foreign = crates.iter().find(|(name, _)| BROKER_CRATES.contains(&name.as_str()));
            ensure!(foreign.is_none(), "{features}: {foreign:?} should not be there");
        }
        let builds = match built && !plan.quick {
            true => Some((cold(arguments, "dev").await?, cold(arguments, "release").await?)),
            false => None,
        };
        weights.push(Weight { features, crates: crates.len(), builds });
    }
    Ok(weights)
}

/// The crates that are compiled, by name and version.
async fn crates(features: &[&str]) -> Result<BTreeSet<(String, String)>> {
    let output = cargo()
        .args(["tree", "--package", "kombu", "--edges", "normal,build", "--prefix", "none"])
        .args(features)
        .output()
        .await?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let entries = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    Ok(entries.collect())
}

/// Builds into an empty folder.
async fn cold(features: &[&str], profile: &str) -> Result<Duration> {
    let folder = env::temp_dir().join(format!("kombu-bench-weight-{}", std::process::id()));
    let result = build(features, profile, &folder).await;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    result
}

async fn build(features: &[&str], profile: &str, folder: &Path) -> Result<Duration> {
    let begun = Instant::now();
    let output = cargo()
        // What it needs was downloaded for this program.
        .args(["build", "--offline", "--package", "kombu", "--profile", profile])
        .args(features)
        .env("CARGO_TARGET_DIR", folder)
        .output()
        .await?;
    let time = begun.elapsed();
    ensure!(output.status.success(), "cargo build: {}", String::from_utf8_lossy(&output.stderr));
    Ok(time)
}

fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    command
}

/// The sets of features that are weighed, and whether they are built: those of many drivers take
/// as long as everything else that is measured.
const SETS: [(&str, &[&str], bool); 5] = [
    ("default (memory, gzip)", &[], true),
    ("memory alone", &["--no-default-features", "--features", "memory"], true),
    ("amqp alone", &["--no-default-features", "--features", "amqp"], true),
    ("redis alone", &["--no-default-features", "--features", "redis"], false),
    ("all", &["--all-features"], false),
];

/// What only a broker needs.
const BROKER_CRATES: [&str; 11] = [
    "amq-protocol",
    "amqprs",
    "async-rs",
    "etcd-client",
    "fred",
    "kombu-transport-amqp",
    "kombu-transport-redis",
    "lapin",
    "rustls",
    "sqlx-core",
    "zookeeper-client",
];
