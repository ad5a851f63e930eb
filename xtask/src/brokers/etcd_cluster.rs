//! An etcd cluster of three members, with a user who may use the keys below `kombu/`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::etcd::{installed, member, post, version};
use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::http_get;
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `etcd` transport that is a cluster.
#[derive(Debug)]
pub(crate) struct EtcdCluster;

/// Each member's name, and the name of its port for the others.
const MEMBERS: [(&str, &str); 3] =
    [("first", "first_peer"), ("second", "second_peer"), ("third", "third_peer")];

/// What makes the users; keys are in base64, from `kombu/` to `kombu0`.
const USERS: [(&str, &str); 9] = [
    ("/v3/auth/user/add", r#"{"name": "root", "password": "rootpw"}"#),
    ("/v3/auth/role/add", r#"{"name": "root"}"#),
    ("/v3/auth/user/grant", r#"{"user": "root", "role": "root"}"#),
    ("/v3/auth/user/add", r#"{"name": "alice", "password": "alicepw"}"#),
    ("/v3/auth/user/add", r#"{"name": "nobody", "password": "nobodypw"}"#),
    ("/v3/auth/role/add", r#"{"name": "kombu"}"#),
    (
        "/v3/auth/role/grant",
        r#"{"name": "kombu", "perm": {"permType": "READWRITE", "key": "a29tYnUv", "range_end": "a29tYnUw"}}"#,
    ),
    ("/v3/auth/user/grant", r#"{"user": "alice", "role": "kombu"}"#),
    ("/v3/auth/enable", "{}"),
];

impl Broker for EtcdCluster {
    fn name(&self) -> &'static str {
        "etcd-cluster"
    }

    fn image(&self) -> &'static str {
        "quay.io/coreos/etcd:v3.4.23"
    }

    fn version(&self) -> &'static str {
        "3.4.23"
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant {
            name: "cluster",
            url: "KOMBU_TEST_ETCD_CLUSTER_URL",
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
        &["first_peer", "second_peer", "third_peer"]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let url = |name| {
            ports.get(name).map(|port| format!("http://127.0.0.1:{port}")).context("no port")
        };
        let mut members = Vec::new();
        for (name, peer) in MEMBERS {
            members.push(format!("{name}={}", url(peer)?));
        }
        let members = members.join(",");
        MEMBERS
            .iter()
            .map(|(name, peer)| {
                member(name, &dir.join(name), &url(name)?, &url(peer)?, &members, &[])
            })
            .collect()
    }

    fn probe(&self, node: &Node) -> Result<String> {
        for (name, _) in MEMBERS {
            version(node.port(name))?;
        }
        let first = node.port("first");
        let alice = r#"{"name": "alice", "password": "alicepw"}"#;
        if post(first, "/v3/auth/authenticate", alice)?.0 != 200 {
            for (path, body) in USERS {
                // What is there from an earlier try is refused.
                post(first, path, body)?;
            }
            bail!("the users were just made");
        }
        version(first)
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let members: Vec<_> =
            MEMBERS.iter().map(|(name, _)| format!("127.0.0.1:{}", node.port(name))).collect();
        let url = format!("etcd://alice:alicepw@{}", members.join(","));
        vec![("KOMBU_TEST_ETCD_CLUSTER_URL", url)]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["kill-leader"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        match action {
            "kill-leader" if node.compose.is_some() => {
                bail!("etcd-cluster has no action kill-leader in a container")
            }
            "kill-leader" => kill_leader(node),
            _ => bail!("no action {action}"),
        }
    }
}

/// Kills the member that leads, and leaves it dead.
fn kill_leader(node: &Node) -> Result<()> {
    for process in &node.processes {
        let metrics = http_get(node.port(&process.name), "/metrics", "");
        if metrics.is_ok_and(|(_, text)| text.contains("\netcd_server_is_leader 1\n")) {
            return process.id.context("the leader was never started")?.kill();
        }
    }
    bail!("no member leads")
}
