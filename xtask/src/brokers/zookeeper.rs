//! ZooKeeper: one server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::connect;
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `zookeeper` transport.
#[derive(Debug)]
pub(crate) struct ZooKeeper;

/// Where Debian has the programs.
const JAVA: &str = "/usr/bin/java";
const JAR: &str = "/usr/share/java/zookeeper.jar";

/// What every server is configured with.
pub(crate) const COMMON: &str = include_str!("../../../ci/zookeeper/common.cfg");

impl Broker for ZooKeeper {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    fn image(&self) -> &'static str {
        "zookeeper:3.8.0"
    }

    fn version(&self) -> &'static str {
        "3.8.0"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "plain", url: "KOMBU_TEST_ZOOKEEPER_URL", tests: Tests::All },
            Variant {
                name: "digest",
                url: "KOMBU_TEST_ZOOKEEPER_DIGEST_URL",
                tests: Tests::Conformance,
            },
        ]
    }

    fn installed(&self) -> bool {
        installed()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = ports.get("plain").context("no port")?;
        Ok(vec![server("zookeeper", dir, *port, "")?])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        version(node.port("plain"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let port = node.port("plain");
        vec![
            ("KOMBU_TEST_ZOOKEEPER_URL", format!("zookeeper://127.0.0.1:{port}/kombu-test")),
            (
                "KOMBU_TEST_ZOOKEEPER_DIGEST_URL",
                format!("zookeeper://alice:alicepw@127.0.0.1:{port}/alice"),
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
    Path::new(JAVA).exists() && Path::new(JAR).exists()
}

/// Writes a configuration into a folder and says how to start a server with it.
pub(crate) fn server(name: &str, dir: &Path, port: u16, more: &str) -> Result<Process> {
    fs::create_dir_all(dir.join("data"))?;
    let file = dir.join("zoo.cfg");
    let folder = dir.display();
    let configuration = format!(
        "{COMMON}\ndataDir={folder}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n{more}"
    );
    fs::write(&file, configuration)?;
    fs::write(
        dir.join("log4j.properties"),
        "log4j.rootLogger=WARN, CONSOLE\n\
         log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout\n\
         log4j.appender.CONSOLE.layout.ConversionPattern=%d %p %c{1} %m%n\n",
    )?;
    let command = [
        JAVA,
        "-Xmx256m",
        "-cp",
        &format!("{folder}:{JAR}"),
        &format!("-Dlog4j.configuration=file:{folder}/log4j.properties"),
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        &file.display().to_string(),
    ];
    Ok(Process {
        name: name.to_owned(),
        server: true,
        command: command.map(str::to_owned).to_vec(),
        env: BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ]),
        log: dir.join("zookeeper.log"),
        id: None,
    })
}

/// Asks a server that serves for its version.
pub(crate) fn version(port: u16) -> Result<String> {
    let answer = srvr(port)?;
    let version = answer.lines().find_map(|line| line.strip_prefix("Zookeeper version: "));
    // Debian's has the text of a build variable behind its number.
    let version = version.context("the server does not serve yet")?.split(['-', ',']).next();
    Ok(version.unwrap_or_default().to_owned())
}

/// Asks a server about itself.
pub(crate) fn srvr(port: u16) -> Result<String> {
    let mut stream = connect(port)?;
    stream.write_all(b"srvr")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
