//! etcd: one member with a plain and a TLS listener.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::{connect, http_get};
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `etcd` transport.
#[derive(Debug)]
pub(crate) struct Etcd;

/// Where Debian has the programs: the server, and the compiler, with its library, that the build of the client needs.
const SERVER: &str = "/usr/bin/etcd";
const COMPILER: [&str; 2] = ["/usr/bin/protoc", "/usr/include/google/protobuf/descriptor.proto"];

impl Broker for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn image(&self) -> &'static str {
        "quay.io/coreos/etcd:v3.4.23"
    }

    fn version(&self) -> &'static str {
        "3.4.23"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "plain", url: "KOMBU_TEST_ETCD_URL", tests: Tests::All },
            Variant { name: "tls", url: "KOMBU_TEST_ETCD_TLS_URL", tests: Tests::Conformance },
        ]
    }

    fn installed(&self) -> bool {
        installed()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain", "tls"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &["peer"]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = |name| ports.get(name).context("no port");
        let peer = format!("http://127.0.0.1:{}", port("peer")?);
        let listen =
            format!("http://127.0.0.1:{},https://127.0.0.1:{}", port("plain")?, port("tls")?);
        // Certificates are the run's, beside the broker's own folder.
        let tls = dir.join("../tls");
        let more = [
            "--cert-file".to_owned(),
            tls.join("server.pem").display().to_string(),
            "--key-file".to_owned(),
            tls.join("server.key").display().to_string(),
        ];
        Ok(vec![member("etcd", dir, &listen, &peer, &format!("etcd={peer}"), &more)?])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        // The last of the listeners to open.
        connect(node.port("tls"))?;
        version(node.port("plain"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let trust = node.tls.join("ca.pem").display().to_string();
        vec![
            ("KOMBU_TEST_ETCD_URL", format!("etcd://127.0.0.1:{}", node.port("plain"))),
            (
                "KOMBU_TEST_ETCD_TLS_URL",
                format!("etcd://localhost:{}/tls?ssl_ca_certs={trust}", node.port("tls")),
            ),
        ]
    }

    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    fn act(&self, _: &Node, action: &str) -> Result<()> {
        bail!("no action {action}")
    }
}

/// Whether the programs are on this machine.
pub(crate) fn installed() -> bool {
    Path::new(SERVER).exists() && compiler_installed()
}

/// Whether what the driver is built with is on this machine.
pub(crate) fn compiler_installed() -> bool {
    env::var_os("PROTOC").is_some() || COMPILER.iter().all(|file| Path::new(file).exists())
}

/// Says how to start a member.
pub(crate) fn member(
    name: &str,
    dir: &Path,
    listen: &str,
    peer: &str,
    cluster: &str,
    more: &[String],
) -> Result<Process> {
    fs::create_dir_all(dir)?;
    let advertised = listen.split(',').next().unwrap_or_default();
    let data = dir.join("data").display().to_string();
    let mut command: Vec<_> = [
        SERVER,
        "--name",
        name,
        "--data-dir",
        &data,
        "--listen-client-urls",
        listen,
        "--advertise-client-urls",
        advertised,
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        cluster,
        "--log-level",
        "warn",
        "--logger",
        "zap",
    ]
    .map(str::to_owned)
    .to_vec();
    command.extend_from_slice(more);
    Ok(Process {
        name: name.to_owned(),
        server: true,
        command,
        env: BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ]),
        log: dir.join("etcd.log"),
        id: None,
    })
}

/// Asks a member that serves, and has a leader, for its version.
pub(crate) fn version(port: u16) -> Result<String> {
    let (_, health) = http_get(port, "/health", "")?;
    if !health.contains("\"true\"") {
        bail!("the member is not healthy: {health}");
    }
    let (_, version) = http_get(port, "/version", "")?;
    let (_, version) = version.split_once("\"etcdserver\":\"").context("no version")?;
    Ok(version.split('"').next().unwrap_or_default().to_owned())
}

/// Sends JSON to the API and returns the status and the answer.
pub(crate) fn post(port: u16, path: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = connect(port)?;
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
    Ok((status, body.to_owned()))
}
