//! The way through a proxy: a second name in the real name server, which leads to the proxy.

use kombu_conformance::Detour;
use kombu_conformance::kit::{PYTHON, Result, variable};
use tokio::process::Command;

/// Asks Python's Pyro4.
#[derive(Debug)]
pub(crate) struct NameServer;

const SCRIPT: &str = "\
import sys, urllib.parse, Pyro4
url, ports = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2:]
names = Pyro4.locateNS(url.hostname, url.port, hmac_key=url.password)
broker = names.lookup(url.path[1:])
for port in ports:
    names.register('through-' + port, f'PYRO:{broker.object}@127.0.0.1:{port}')
print(broker.host, broker.port)
";

impl NameServer {
    async fn ask(arguments: &[&str]) -> Result<String> {
        let python = variable(PYTHON).ok_or("KOMBU_INTEROP_PYTHON is not set")?;
        let output = Command::new(python).args(["-c", SCRIPT]).args(arguments).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

#[async_trait::async_trait]
impl Detour for NameServer {
    async fn broker(&self, url: &str) -> Result<(String, u16)> {
        let said = Self::ask(&[url]).await?;
        let (host, port) = said.split_once(' ').ok_or("no host and port")?;
        Ok((host.to_owned(), port.parse()?))
    }

    async fn through(&self, url: &str, port: u16) -> Result<String> {
        let port = port.to_string();
        Self::ask(&[url, &port]).await?;
        let (before, _name) = url.rsplit_once('/').ok_or("no name in the URL")?;
        Ok(format!("{before}/through-{port}"))
    }
}
