//! Brokers in containers, as `docker-compose.yml` describes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::brokers::Broker;
use crate::brokers::node::Ports;
use crate::paths;

/// A compose project: the services of one broker under a name of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Compose {
    /// The project's name.
    project: String,
    /// The compose file.
    file: PathBuf,
    /// What the file reads: ports and the folder of certificates.
    env: BTreeMap<String, String>,
}

impl Compose {
    /// Describes the project of a broker.
    pub(crate) fn new(broker: &dyn Broker, run: &str, tls: &Path, ports: &Ports) -> Self {
        let mut env: BTreeMap<_, _> = ports
            .iter()
            .map(|(name, port)| (port_variable(broker, name), port.to_string()))
            .collect();
        env.insert("KOMBU_TLS_DIR".to_owned(), tls.display().to_string());
        Self {
            project: format!("kombu-{run}-{}", broker.name()),
            file: paths::workspace().join("docker-compose.yml"),
            env,
        }
    }

    /// Starts a `docker compose` command line for the project.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("compose")
            .args(["--project-name", &self.project])
            .args(["--profile", "*"])
            .arg("--file")
            .arg(&self.file)
            .envs(&self.env);
        command
    }

    /// Runs a `docker compose` command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = self
            .command()
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .context("cannot run docker compose")?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("docker compose {}: {errors}", arguments.join(" "));
        }
        Ok(())
    }
}

/// The variable that sets the port of a broker in the compose file.
pub(crate) fn port_variable(broker: &dyn Broker, port: &str) -> String {
    let broker = broker.name().to_uppercase().replace('-', "_");
    format!("KOMBU_{broker}_{}_PORT", port.to_uppercase())
}

/// Whether a container engine answers; a `docker` command alone may be a client without one.
pub(crate) fn engine_answers() -> bool {
    let quiet = |arguments: &[&str]| {
        Command::new("docker")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    quiet(&["info", "--format", "{{.ServerVersion}}"]) && quiet(&["compose", "version"])
}
