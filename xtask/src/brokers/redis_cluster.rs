//! A Redis cluster of three nodes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::redis::{SERVER, server, tell, version};
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `redis` transport that is a cluster.
#[derive(Debug)]
pub(crate) struct RedisCluster;

/// Each node's name, the name of its port for the others, and its slots.
const NODES: [(&str, &str, &str); 3] = [
    ("first", "first_bus", "0-5460"),
    ("second", "second_bus", "5461-10922"),
    ("third", "third_bus", "10923-16383"),
];

impl Broker for RedisCluster {
    fn name(&self) -> &'static str {
        "redis-cluster"
    }

    fn image(&self) -> &'static str {
        "redis:7.0.15"
    }

    fn version(&self) -> &'static str {
        "7.0.15"
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant {
            name: "cluster",
            url: "KOMBU_TEST_REDIS_CLUSTER_URL",
            tests: Tests::Conformance,
        }]
    }

    fn installed(&self) -> bool {
        Path::new(SERVER).exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["first", "second", "third"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &["first_bus", "second_bus", "third_bus"]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = |name| ports.get(name).copied().context("no port");
        let mut processes = Vec::new();
        for (own, bus, _) in NODES {
            let folder = dir.join(own);
            fs::create_dir_all(&folder)?;
            // What they would agree on in some seconds: who they are and who has which slots.
            let mut known = String::new();
            for (number, (name, bus, slots)) in (1..).zip(NODES) {
                let flags = if name == own { "myself,master" } else { "master" };
                let (port, bus) = (port(name)?, port(bus)?);
                known += &format!(
                    "{number:040} 127.0.0.1:{port}@{bus} {flags} - 0 0 {number} connected {slots}\n"
                );
            }
            known += "vars currentEpoch 3 lastVoteEpoch 0\n";
            fs::write(folder.join("nodes.conf"), known)?;
            let configuration = format!(
                "{common}\n\
                 bind 127.0.0.1\n\
                 port {port}\n\
                 dir {folder}\n\
                 cluster-enabled yes\n\
                 cluster-config-file nodes.conf\n\
                 cluster-port {bus}\n\
                 cluster-node-timeout 2000\n",
                common = include_str!("../../../ci/redis/common.conf"),
                port = port(own)?,
                bus = port(bus)?,
                folder = folder.display(),
            );
            processes.push(server(own, &folder, &configuration, true)?);
        }
        Ok(processes)
    }

    fn probe(&self, node: &Node) -> Result<String> {
        for (name, ..) in NODES {
            if !tell(node.port(name), "CLUSTER INFO")?.contains("cluster_state:ok") {
                bail!("a node does not know all slots yet");
            }
        }
        version(node.port("first"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let nodes: Vec<_> =
            NODES.iter().map(|(name, ..)| format!("127.0.0.1:{}", node.port(name))).collect();
        vec![("KOMBU_TEST_REDIS_CLUSTER_URL", format!("redis+cluster://{}", nodes.join(",")))]
    }

    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    fn act(&self, _: &Node, action: &str) -> Result<()> {
        bail!("no action {action}")
    }
}
