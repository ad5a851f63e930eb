//! Daemons of a case's own, on the real name server under another name.

use std::process::Stdio;

use kombu_conformance::kit::{PYTHON, Result, SOON, variable};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

use crate::ground::url;

/// A daemon, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    /// Leads to it.
    pub(crate) url: String,
    _process: Child,
}

const SCRIPT: &str = "\
import os, sys, time, urllib.parse, Pyro4
from kombu.transport.pyro import KombuBroker
@Pyro4.expose
@Pyro4.behavior(instance_mode='single')
class Broker(KombuBroker):
    pause = float(os.environ.get('FIRST_GET_TAKES', '0'))
    def get(self, queue):
        message = super().get(queue)
        pause, Broker.pause = Broker.pause, 0
        time.sleep(pause)
        return message
url, name, arguments = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3:]
daemon = Pyro4.Daemon(unixsocket=arguments[0]) if arguments else Pyro4.Daemon('127.0.0.1')
Pyro4.locateNS(url.hostname, url.port).register(name, daemon.register(Broker))
print('ready', flush=True)
daemon.requestLoop()
";

impl Daemon {
    /// Starts one with some of Pyro4's configuration, and a Unix socket in place of a port if a
    /// path is given. `FIRST_GET_TAKES` is the time in seconds that its first message needs.
    pub(crate) async fn start(
        configuration: &[(&str, &str)],
        socket: Option<&str>,
    ) -> Result<Self> {
        let name = format!("own-{}", Uuid::new_v4().simple());
        let mut process = Command::new(variable(PYTHON).ok_or("no Python")?)
            .args(["-c", SCRIPT, &url(""), &name])
            .args(socket)
            .envs(configuration.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().ok_or("a daemon without output")?;
        let mut lines = BufReader::new(out).lines();
        timeout(SOON, lines.next_line()).await??.ok_or("the daemon ended")?;
        let whole = url("");
        let (before, _name) = whole.rsplit_once('/').ok_or("no name in the URL")?;
        Ok(Self { url: format!("{before}/{name}"), _process: process })
    }
}
