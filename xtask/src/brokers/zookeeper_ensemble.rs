//! A ZooKeeper ensemble of three servers.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::zookeeper::{installed, server, srvr, version};
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `zookeeper` transport that is an ensemble.
#[derive(Debug)]
pub(crate) struct ZooKeeperEnsemble;

/// Each server's name, and the names of its ports for the others: for the leader, for elections.
const SERVERS: [(&str, &str, &str); 3] = [
    ("first", "first_quorum", "first_election"),
    ("second", "second_quorum", "second_election"),
    ("third", "third_quorum", "third_election"),
];

impl Broker for ZooKeeperEnsemble {
    fn name(&self) -> &'static str {
        "zookeeper-ensemble"
    }

    fn image(&self) -> &'static str {
        "zookeeper:3.8.0"
    }

    fn version(&self) -> &'static str {
        "3.8.0"
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant {
            name: "ensemble",
            url: "KOMBU_TEST_ZOOKEEPER_ENSEMBLE_URL",
            tests: Tests::Conformance,
        }]
    }

    fn installed(&self) -> bool {
        installed()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["first", "second", "third"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[
            "first_quorum",
            "first_election",
            "second_quorum",
            "second_election",
            "third_quorum",
            "third_election",
        ]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = |name| ports.get(name).copied().context("no port");
        let mut members = String::new();
        for (number, (_, quorum, election)) in (1..).zip(SERVERS) {
            let (quorum, election) = (port(quorum)?, port(election)?);
            members += &format!("server.{number}=127.0.0.1:{quorum}:{election}\n");
        }
        let mut processes = Vec::new();
        for (number, (name, ..)) in (1..).zip(SERVERS) {
            let folder = dir.join(name);
            processes.push(server(name, &folder, port(name)?, &members)?);
            fs::write(folder.join("data/myid"), format!("{number}\n"))?;
        }
        Ok(processes)
    }

    fn probe(&self, node: &Node) -> Result<String> {
        for (name, ..) in SERVERS {
            version(node.port(name))?;
        }
        version(node.port("first"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let servers: Vec<_> =
            SERVERS.iter().map(|(name, ..)| format!("127.0.0.1:{}", node.port(name))).collect();
        let url = format!("zookeeper://{}/kombu-test", servers.join(","));
        vec![("KOMBU_TEST_ZOOKEEPER_ENSEMBLE_URL", url)]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["kill-leader"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            "kill-leader" if node.compose.is_some() => {
                bail!("zookeeper-ensemble has no action kill-leader in a container")
            }
            "kill-leader" => kill_leader(node),
            _ => bail!("no action {action}"),
        }
    }
}

/// Kills the server that leads, and leaves it dead.
fn kill_leader(node: &Node) -> Result<()> {
    for process in &node.processes {
        let answer = srvr(node.port(&process.name));
        if answer.is_ok_and(|answer| answer.contains("Mode: leader")) {
            return process.id.context("the leader was never started")?.kill();
        }
    }
    bail!("no server leads")
}
