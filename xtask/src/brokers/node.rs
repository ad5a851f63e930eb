//! One broker of a run: its processes or its container, as the state file keeps them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::brokers::docker::Compose;
use crate::brokers::probe::until;
use crate::brokers::process::{Condition, Identity, Process};
use crate::brokers::{Broker, broker};

/// Ports by the names that [`Broker`] gives them.
pub(crate) type Ports = BTreeMap<String, u16>;

/// How long a server may take to stop when asked to.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to serve; a loaded machine is slow at it.
const START: Duration = Duration::from_secs(180);

/// A broker that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The broker's name.
    pub(crate) broker: String,
    /// The folder with its configuration, data and logs.
    pub(crate) dir: PathBuf,
    /// The folder with certificates.
    pub(crate) tls: PathBuf,
    /// Its ports on the loopback address.
    pub(crate) ports: Ports,
    /// Its processes, in the order of starting; none if it runs in a container.
    pub(crate) processes: Vec<Process>,
    /// Its container.
    pub(crate) compose: Option<Compose>,
    /// The version it reported when it was ready.
    pub(crate) version: Option<String>,
}

impl Node {
    /// What this is a node of.
    pub(crate) fn broker(&self) -> Result<&'static dyn Broker> {
        broker(&self.broker)
    }

    /// Returns a port by name.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or_default()
    }

    /// Starts what is not running; see [`Node::ready`] for when it serves.
    pub(crate) fn start(&mut self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["up", "--detach", "--wait", &self.broker]);
        }
        for process in &mut self.processes {
            if process.condition() == Condition::Gone {
                process.start()?;
            }
        }
        Ok(())
    }

    /// Waits until the broker serves and returns its version.
    pub(crate) fn ready(&self) -> Result<String> {
        let broker = self.broker()?;
        until(START, || {
            for process in &self.processes {
                if process.condition() == Condition::Gone {
                    // An error would be retried; this one is final.
                    return Ok(Err(self.log_tail(process)));
                }
            }
            broker.probe(self).map(Ok)
        })
        .with_context(|| format!("{} does not serve", self.broker))?
        .map_err(|tail| anyhow::anyhow!("{} has ended by itself:\n{tail}", self.broker))
    }

    /// Stops the server as an operator would, with its data kept.
    pub(crate) fn stop(&self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["stop", &self.broker]);
        }
        let ask = self.broker()?.stop_signal();
        self.servers().try_for_each(|id| id.end(ask, PATIENCE))
    }

    /// Kills the server, with its data kept.
    pub(crate) fn kill(&self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["kill", &self.broker]);
        }
        self.servers().try_for_each(|id| id.kill())
    }

    /// Freezes the server: its sockets stay open and nothing answers.
    pub(crate) fn pause(&self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["pause", &self.broker]);
        }
        self.frozen_together()?.into_iter().try_for_each(|id| {
            id.signal(Signal::STOP)?;
            id.wait_for(Condition::Stopped, PATIENCE)
        })
    }

    /// Lets a frozen server go on.
    pub(crate) fn resume(&self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["unpause", &self.broker]);
        }
        self.frozen_together()?.into_iter().try_for_each(|id| {
            id.signal(Signal::CONT)?;
            id.wait_for(Condition::Running, PATIENCE)
        })
    }

    /// Ends everything at once, helpers included; nobody needs the data any more.
    pub(crate) fn discard(&self) -> Result<()> {
        if let Some(compose) = &self.compose {
            return compose.run(&["down", "--volumes", "--timeout", "1"]);
        }
        let ids = self.processes.iter().rev().filter_map(|process| process.id);
        ids.into_iter().try_for_each(|id| id.kill())
    }

    /// Runs one of the broker's own programs beside the server and returns what it prints.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = if let Some(compose) = &self.compose {
            let mut command = compose.command();
            command.args(["exec", "--no-TTY", &self.broker, program]);
            command
        } else {
            let server = self.processes.iter().find(|process| process.server);
            let mut command = Command::new(program);
            command.env_clear();
            command.envs(&server.context("no server")?.env);
            command
        };
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {}: {errors}", arguments.join(" "));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The processes that serve clients.
    fn servers(&self) -> impl Iterator<Item = Identity> {
        let servers = self.processes.iter().filter(|process| process.server);
        servers.filter_map(|process| process.id)
    }

    /// The processes that a pause freezes.
    fn frozen_together(&self) -> Result<Vec<Identity>> {
        let mut all: Vec<_> = self.servers().collect();
        if self.broker()?.has_workers() {
            all.extend(all.clone().into_iter().flat_map(Identity::children));
        }
        Ok(all)
    }

    /// Says which process ended and what it last wrote.
    fn log_tail(&self, process: &Process) -> String {
        format!("{}: {}", process.name, process.log_tail())
    }
}
