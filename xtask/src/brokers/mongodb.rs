//! MongoDB: one server that asks nobody who they are, and one with TLS and a user with a password.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::connect;
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant, ferretdb};

/// The server of the `mongodb` transport that anybody may use.
#[derive(Debug)]
pub(crate) struct MongoDb;

/// The server of the `mongodb` transport that wants TLS and a password.
#[derive(Debug)]
pub(crate) struct MongoDbSecured;

const IMAGE: &str = "mongo:7.0";
const VERSION: &str = "7.0";

impl Broker for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn image(&self) -> &'static str {
        IMAGE
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant { name: "plain", url: "KOMBU_TEST_MONGODB_URL", tests: Tests::All }]
    }

    fn installed(&self) -> bool {
        installed()
    }

    fn build(&self) -> Result<bool> {
        ferretdb::build().map(|()| true)
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = *ports.get("plain").context("no port")?;
        Ok(vec![ferretdb::server("mongodb", dir, port, &[])?])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        version(node.port("plain"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let port = node.port("plain");
        // In a container it calls itself by a name that is known there only.
        let url = format!("mongodb://127.0.0.1:{port}/kombu?directConnection=true");
        vec![("KOMBU_TEST_MONGODB_URL", url)]
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drop-connections"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        if node.processes.is_empty() {
            bail!("only the server that is started without a container has {action}");
        }
        let ids = node.processes.iter().filter_map(|process| process.id);
        ids.into_iter().try_for_each(|id| id.signal(Signal::USR1))
    }
}

impl Broker for MongoDbSecured {
    fn name(&self) -> &'static str {
        "mongodb-secured"
    }

    fn image(&self) -> &'static str {
        IMAGE
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn variants(&self) -> &'static [Variant] {
        &[Variant {
            name: "password",
            url: "KOMBU_TEST_MONGODB_SECURED_URL",
            tests: Tests::Conformance,
        }]
    }

    fn installed(&self) -> bool {
        installed()
    }

    fn build(&self) -> Result<bool> {
        ferretdb::build().map(|()| true)
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["tls"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = *ports.get("tls").context("no port")?;
        // Certificates are the run's, beside the broker's own folder.
        let tls = |file: &str| dir.join("../tls").join(file).display().to_string();
        let arguments = [
            "-cert".to_owned(),
            tls("server.pem"),
            "-key".to_owned(),
            tls("server.key"),
            "-user".to_owned(),
            "alice".to_owned(),
            "-password".to_owned(),
            "alicepw".to_owned(),
        ];
        Ok(vec![ferretdb::server("mongodb-secured", dir, port, &arguments)?])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        connect(node.port("tls"))?;
        Ok(VERSION.to_owned())
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let port = node.port("tls");
        let trust = node.tls.join("ca.pem").display().to_string();
        let url = format!(
            "mongodb://alice:alicepw@localhost:{port}/kombu?authSource=admin&directConnection=true\
             &ssl_ca_certs={trust}"
        );
        vec![("KOMBU_TEST_MONGODB_SECURED_URL", url)]
    }

    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    fn act(&self, _node: &Node, action: &str) -> Result<()> {
        bail!("no action {action}")
    }
}

fn installed() -> bool {
    ferretdb::program().is_ok_and(|program| program.exists())
}

/// Asks a server for its version: `{ buildInfo: 1, $db: "admin" }` in one message.
fn version(port: u16) -> Result<String> {
    let document =
        [b"\x10buildInfo\0\x01\0\0\0".as_slice(), b"\x02$db\0\x06\0\0\0admin\0", b"\0"].concat();
    let length = |bytes: usize| u32::try_from(bytes).map(u32::to_le_bytes);
    let mut message = length(16 + 4 + 1 + 4 + document.len())?.to_vec();
    // Its number, none that it answers, its kind, no flags, one document.
    message.extend(1_u32.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.extend(2013_u32.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.push(0);
    message.extend(length(4 + document.len())?);
    message.extend(document);
    let mut stream = connect(port)?;
    stream.write_all(&message)?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).context("no answer")?;
    let length = usize::try_from(u32::from_le_bytes(header))?;
    if !(16..1 << 20).contains(&length) {
        bail!("an answer of {length} bytes");
    }
    let mut answer = vec![0; length - header.len()];
    stream.read_exact(&mut answer)?;
    let name = b"\x02version\0";
    let at = answer.windows(name.len()).position(|window| window == name).context("no version")?;
    let text: Vec<u8> =
        answer.iter().skip(at + name.len() + 4).take_while(|byte| **byte != 0).copied().collect();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
