//! Redis: one server with a plain and a TLS listener, a Unix socket, and a user with a password.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::probe::connect;
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};

/// The broker of the `redis` transport.
#[derive(Debug)]
pub(crate) struct Redis;

/// Where Debian has the program.
pub(crate) const SERVER: &str = "/usr/bin/redis-server";

impl Broker for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn image(&self) -> &'static str {
        "redis:7.0.15"
    }

    fn version(&self) -> &'static str {
        "7.0.15"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "plain", url: "KOMBU_TEST_REDIS_URL", tests: Tests::All },
            Variant { name: "acl", url: "KOMBU_TEST_REDIS_ACL_URL", tests: Tests::Conformance },
            Variant { name: "tls", url: "KOMBU_TEST_REDIS_TLS_URL", tests: Tests::Conformance },
            Variant {
                name: "socket",
                url: "KOMBU_TEST_REDIS_SOCKET_URL",
                tests: Tests::Conformance,
            },
        ]
    }

    fn installed(&self) -> bool {
        Path::new(SERVER).exists()
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain", "tls"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        fs::create_dir_all(dir.join("data"))?;
        let port = |name| ports.get(name).context("no port");
        let folder = dir.display();
        // Certificates are the run's, beside the broker's own folder.
        let configuration = format!(
            "{common}\n\
             bind 127.0.0.1\n\
             port {plain}\n\
             tls-port {tls}\n\
             tls-ca-cert-file {folder}/../tls/ca.pem\n\
             tls-cert-file {folder}/../tls/server.pem\n\
             tls-key-file {folder}/../tls/server.key\n\
             unixsocket {folder}/{SOCKET}\n\
             unixsocketperm 700\n\
             dir {folder}/data\n",
            common = include_str!("../../../ci/redis/common.conf"),
            plain = port("plain")?,
            tls = port("tls")?,
        );
        Ok(vec![server("redis", dir, &configuration, true)?])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        // The last of the listeners to open.
        connect(node.port("tls"))?;
        version(node.port("plain"))
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let (plain, tls) = (node.port("plain"), node.port("tls"));
        let [trust, certificate, key] = ["ca.pem", "client.pem", "client.key"]
            .map(|file| node.tls.join(file).display().to_string());
        let mut exports = vec![
            ("KOMBU_TEST_REDIS_URL", format!("redis://127.0.0.1:{plain}/0")),
            ("KOMBU_TEST_REDIS_ACL_URL", format!("redis://alice:alicepw@127.0.0.1:{plain}/1")),
            (
                "KOMBU_TEST_REDIS_TLS_URL",
                format!(
                    "rediss://alice:alicepw@localhost:{tls}/2?ssl_ca_certs={trust}\
                     &ssl_certfile={certificate}&ssl_keyfile={key}"
                ),
            ),
        ];
        // That of a container is in the container.
        if node.compose.is_none() {
            let socket = node.dir.join(SOCKET).display().to_string();
            let url = format!("redis+socket://{socket}?virtual_host=3");
            exports.push(("KOMBU_TEST_REDIS_SOCKET_URL", url));
        }
        exports
    }

    fn actions(&self) -> &'static [&'static str] {
        &["drop-connections", "set-alarm", "clear-alarm"]
    }

    fn act(&self, node: &Node, action: &str) -> Result<()> {
        let port = node.port("plain");
        match action {
            "drop-connections" => tell(port, "CLIENT KILL TYPE normal").map(drop),
            // Full, whatever it holds: writes are refused.
            "set-alarm" => tell(port, "CONFIG SET maxmemory 1").map(drop),
            "clear-alarm" => tell(port, "CONFIG SET maxmemory 0").map(drop),
            _ => bail!("no action {action}"),
        }
    }
}

/// The name of its Unix socket.
const SOCKET: &str = "redis.sock";

/// Writes a configuration into a folder and says how to start a server with it.
pub(crate) fn server(name: &str, dir: &Path, configuration: &str, serves: bool) -> Result<Process> {
    let file = dir.join("redis.conf");
    fs::write(&file, configuration)?;
    Ok(Process {
        name: name.to_owned(),
        server: serves,
        command: vec![SERVER.to_owned(), file.display().to_string()],
        env: BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned()),
        ]),
        log: dir.join("redis.log"),
        id: None,
    })
}

/// Asks a server that has loaded its data for its version.
pub(crate) fn version(port: u16) -> Result<String> {
    let info = tell(port, "INFO server")?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    // One that is still loading refuses this.
    tell(port, "DBSIZE")?;
    Ok(version.context("no version")?.trim().to_owned())
}

/// Sends one command and returns what the server answers first.
pub(crate) fn tell(port: u16, command: &str) -> Result<String> {
    let mut stream = connect(port)?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // A line, or a length and so many bytes.
    loop {
        let read = stream.read(&mut buffer)?;
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        let text = String::from_utf8_lossy(&answer).into_owned();
        let Some((first, rest)) = text.split_once("\r\n") else {
            if read == 0 {
                bail!("the server hung up");
            }
            continue;
        };
        if let Some(error) = first.strip_prefix('-') {
            bail!("{command}: {error}");
        }
        let wanted: Option<usize> = first.strip_prefix('$').and_then(|length| length.parse().ok());
        if wanted.is_none_or(|wanted| rest.len() >= wanted) || read == 0 {
            return Ok(text);
        }
    }
}
