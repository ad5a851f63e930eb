//! Redis behind sentinels: a master, two replicas and three sentinels.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::redis::{SERVER, server, tell, version};
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `redis` transport that is asked for at sentinels.
#[derive(Debug)]
pub(crate) struct RedisSentinel;

/// What the sentinels call the servers.
const MASTER: &str = "mymaster";

impl Broker for RedisSentinel {
    fn name(&self) -> &'static str {
        "redis-sentinel"
    }

    fn image(&self) -> &'static str {
        "redis:7.0.15"
    }

    fn version(&self) -> &'static str {
        "7.0.15"
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant {
            name: "sentinel",
            url: "KOMBU_TEST_REDIS_SENTINEL_URL",
            tests: Tests::Conformance,
        }]
    }

    fn installed(&self) -> bool {
        Path::new(SERVER).exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["first", "second", "third", "one", "two", "three"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = |name| ports.get(name).copied().context("no port");
        let first = port("first")?;
        let mut processes = Vec::new();
        for name in ["first", "second", "third"] {
            let folder = dir.join(name);
            fs::create_dir_all(&folder)?;
            let follow = if name == "first" {
                String::new()
            } else {
                format!("replicaof 127.0.0.1 {first}\nrepl-diskless-sync-delay 0\n")
            };
            let configuration = format!(
                "{common}\nbind 127.0.0.1\nport {port}\ndir {folder}\n{follow}",
                common = include_str!("../../../ci/redis/common.conf"),
                port = port(name)?,
                folder = folder.display(),
            );
            processes.push(server(name, &folder, &configuration, true)?);
        }
        for name in ["one", "two", "three"] {
            let folder = dir.join(name);
            fs::create_dir_all(&folder)?;
            let configuration = format!(
                "bind 127.0.0.1\n\
                 port {port}\n\
                 dir {folder}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {first} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 5000\n",
                port = port(name)?,
                folder = folder.display(),
            );
            let mut sentinel = server(name, &folder, &configuration, false)?;
            sentinel.command.push("--sentinel".to_owned());
            processes.push(sentinel);
        }
        Ok(processes)
    }

    fn probe(&self, node: &Node) -> Result<String> {
        for name in ["one", "two", "three"] {
            let port = node.port(name);
            // They look around every ten seconds otherwise.
            tell(port, "SENTINEL DEBUG INFO-PERIOD 200 PUBLISH-PERIOD 200 PING-PERIOD 100")?;
            tell(port, &format!("SENTINEL CKQUORUM {MASTER}"))?;
            let replicas = tell(port, &format!("SENTINEL REPLICAS {MASTER}"))?;
            if !replicas.starts_with("*2") {
                bail!("a sentinel does not know both replicas yet");
            }
        }
        version(node.port("first"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let sentinels: Vec<_> = ["one", "two", "three"]
            .iter()
            .map(|name| format!("127.0.0.1:{}", node.port(name)))
            .collect();
        let sentinels = sentinels.join(",");
        let url = format!("sentinel://{sentinels}/0?master_name={MASTER}");
        vec![("KOMBU_TEST_REDIS_SENTINEL_URL", url)]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["kill-master"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            "kill-master" if node.compose.is_some() => {
                bail!("redis-sentinel has no action kill-master in a container")
            }
            "kill-master" => kill_master(node),
            _ => bail!("no action {action}"),
        }
    }
}

/// Kills the server that is the master, and leaves it dead.
fn kill_master(node: &Node) -> Result<()> {
    for process in node.processes.iter().filter(|process| process.server) {
        let info = tell(node.port(&process.name), "INFO replication");
        if info.is_ok_and(|info| info.contains("role:master")) {
            return process.id.context("the master was never started")?.kill();
        }
    }
    bail!("no server is the master")
}
