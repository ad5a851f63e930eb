//! What everything ran on.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::Result;

use crate::peer::Peer;

/// The machine and the versions that took part, as names and values.
pub(crate) async fn describe(peer: Option<&Peer>) -> Vec<(String, String)> {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let mut facts = vec![
        ("date".to_owned(), output("date", &["-u", "+%Y-%m-%d"])),
        ("processor".to_owned(), format!("{} ({cores} cores)", processor())),
        ("memory".to_owned(), memory()),
        ("system".to_owned(), output("uname", &["-sr"])),
        ("rustc".to_owned(), output("rustc", &["--version"])),
        ("load before".to_owned(), load()),
        ("kombu".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for name in ["amqprs", "lapin", "fred", "sqlx", "etcd-client", "zookeeper-client", "tokio"] {
        facts.push((name.to_owned(), locked(name)));
    }
    if let Some(peer) = peer {
        match peer.versions().await {
            Ok(versions) => facts.extend(versions),
            Err(error) => facts.push(("Python's Kombu".to_owned(), error.to_string())),
        }
    }
    facts
}

/// A broker and its version.
pub(crate) async fn server(url: &str) -> Result<(String, String)> {
    let connection = kombu::connect(url).await?;
    let server = connection.server().await?;
    connection.close().await?;
    Ok((server.product.clone(), server.version.clone()))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&text, "model name").unwrap_or_else(|| "unknown".to_owned())
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: Option<u64> =
        field(&text, "MemTotal").and_then(|total| total.split_whitespace().next()?.parse().ok());
    kib.map_or_else(|| "unknown".to_owned(), |kib| format!("{} GiB", kib.div_ceil(1 << 20)))
}

/// How busy the machine was over the last minute: noise that the numbers carry.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// The version of a crate in the lock file.
fn locked(name: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.split(&entry).nth(1).and_then(|rest| rest.split('"').next());
    version.unwrap_or("unknown").to_owned()
}

/// The value of the first line that starts with a name.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        assert!(locked("lapin").starts_with(|first: char| first.is_ascii_digit()));
        assert_eq!(locked("no-such-crate"), "unknown");
    }
}
