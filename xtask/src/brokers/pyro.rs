//! Kombu's own Pyro broker, in Python: name servers, and daemons that hold the queues. One pair signs its frames.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::brokers::node::{Node, Ports};
use crate::brokers::process::Process;
use crate::brokers::{Broker, Tests, Variant};
use crate::{paths, python};

/// The broker of the `pyro` transport.
#[derive(Debug)]
pub(crate) struct Pyro;

/// What the second pair signs with.
const KEY: &str = "pyropw";

/// Asks a name server for the broker and the broker for its queues, and says which version of Pyro4 did.
const PROBE: &str = "\
import sys, Pyro4
Pyro4.config.COMMTIMEOUT = 5
broker = Pyro4.locateNS('127.0.0.1', int(sys.argv[1])).lookup('kombu.broker')
Pyro4.Proxy(broker).get_queue_names()
print(Pyro4.__version__)
";

impl Broker for Pyro {
    fn name(&self) -> &'static str {
        "pyro"
    }

    fn image(&self) -> &'static str {
        "kombu-pyro:4.82"
    }

    fn version(&self) -> &'static str {
        "4.82"
    }

    fn variants(&self) -> &'static [Variant] {
        &[
            Variant { name: "plain", url: "KOMBU_TEST_PYRO_URL", tests: Tests::All },
            Variant { name: "hmac", url: "KOMBU_TEST_PYRO_HMAC_URL", tests: Tests::Conformance },
        ]
    }

    /// Its packages are among those of the Python peers.
    fn installed(&self) -> bool {
        true
    }

    fn published_ports(&self) -> &'static [&'static str] {
        &["plain", "daemon", "hmac", "hmac_daemon"]
    }

    fn private_ports(&self) -> &'static [&'static str] {
        &[]
    }

    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>> {
        let port = |name| ports.get(name).map(u16::to_string).context("no port");
        let (plain, hmac) = (port("plain")?, port("hmac")?);
        let script = paths::workspace().join("ci/pyro/broker.py").display().to_string();
        let name_server = ["-m", "Pyro4.naming", "-x", "-n", "127.0.0.1", "-p"];
        Ok(vec![
            process(dir, "name-server", &[&name_server[..], &[&plain]].concat())?,
            process(dir, "daemon", &["-u", &script, &plain, &port("daemon")?])?,
            process(dir, "hmac-name-server", &[&name_server[..], &[&hmac, "-k", KEY]].concat())?,
            process(dir, "hmac-daemon", &["-u", &script, &hmac, &port("hmac_daemon")?, KEY])?,
        ])
    }

    fn probe(&self, node: &Node) -> Result<String> {
        let python = match node.compose {
            Some(_) => "python".to_owned(),
            None => python::interpreter()?.display().to_string(),
        };
        // The daemon with the key is started at the same time, and takes as long.
        super::probe::connect(node.port("hmac_daemon"))?;
        let port = node.port("plain").to_string();
        Ok(node.tool(&python, &["-c", PROBE, &port])?.trim().to_owned())
    }

    fn exports(&self, node: &Node) -> Vec<(&'static str, String)> {
        let url =
            |login: &str, port| format!("pyro://{login}127.0.0.1:{}/kombu.broker", node.port(port));
        vec![
            ("KOMBU_TEST_PYRO_URL", url("", "plain")),
            ("KOMBU_TEST_PYRO_HMAC_URL", url(&format!("kombu:{KEY}@"), "hmac")),
        ]
    }

    fn actions(&self) -> &'static [&'static str] {
        &[]
    }

    fn act(&self, _: &Node, action: &str) -> Result<()> {
        bail!("no action {action}")
    }
}

/// A process of Python's; name servers outlive restarts of daemons.
fn process(dir: &Path, name: &str, arguments: &[&str]) -> Result<Process> {
    let python = python::interpreter()?.display().to_string();
    let variables = [
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYRO_HOST", "127.0.0.1"),
        ("PYRO_NS_HOST", "127.0.0.1"),
        // Each connection needs a thread.
        ("PYRO_THREADPOOL_SIZE", "400"),
    ];
    Ok(Process {
        name: name.to_owned(),
        server: name.ends_with("daemon"),
        command: std::iter::once(python)
            .chain(arguments.iter().copied().map(str::to_owned))
            .collect(),
        env: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        log: dir.join(format!("{name}.log")),
        id: None,
    })
}
