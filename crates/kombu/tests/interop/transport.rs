//! A transport under test: its broker and its Python.

use std::env;
use std::path::{Path, PathBuf};

use kombu::transport::Capabilities;
use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::rust;

/// A transport and what Python's Kombu lacks on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transport {
    /// Its name: the feature's, and that of its variable.
    pub(crate) name: &'static str,
    /// What Python cannot do: needs of cases by name.
    pub(crate) python_lacks: &'static [&'static str],
    /// Options, each with a value, that both sides have.
    pub(crate) options: &'static [(&'static str, &'static str)],
    /// Options, each with a value, with which Rust sends in another way: the cases about messages
    /// are also run with it.
    pub(crate) also_with: &'static [(&'static str, &'static str)],
}

/// A transport with all that an exchange needs.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) transport: Transport,
    /// With the options that both sides have.
    pub(crate) url: String,
    /// As it was given.
    pub(crate) bare_url: String,
    pub(crate) python: PathBuf,
    pub(crate) peer: PathBuf,
    /// What the broker can do.
    pub(crate) can: Capabilities,
}

/// Why nothing can be exchanged.
#[derive(Clone, Debug)]
pub(crate) struct Obstacle {
    pub(crate) reason: String,
    /// Whether that is a failure.
    pub(crate) failure: bool,
}

impl Transport {
    /// Finds the broker and the interpreter, and asks the broker what it can do.
    pub(crate) fn prepare(self) -> Result<Ground, Obstacle> {
        let enabled = kombu::transports::enabled();
        if !enabled.iter().any(|known| known.name() == self.name) {
            let feature = self.name;
            return Err(missing(format!("this build has no transport {feature:?}")));
        }
        let bare_url = variable(&format!("KOMBU_TEST_{}_URL", self.name.to_uppercase()))?;
        let mut url = bare_url.clone();
        for (name, value) in self.options {
            let separator = if url.contains('?') { '&' } else { '?' };
            url += &format!("{separator}{name}={value}");
        }
        let python = PathBuf::from(variable("KOMBU_INTEROP_PYTHON")?);
        let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/peer.py");
        let can = capabilities(&url).map_err(|failure| Obstacle {
            reason: format!("no broker answers: {failure}"),
            failure: true,
        })?;
        Ok(Ground { transport: self, url, bare_url, python, peer, can })
    }
}

/// A runtime as programs have it.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

fn capabilities(url: &str) -> Result<Capabilities, Failure> {
    runtime()?.block_on(async {
        let connection = rust::builder(url).connect().await?;
        let can = connection.capabilities().await?;
        connection.close().await?;
        Ok(can)
    })
}

fn variable(name: &str) -> Result<String, Obstacle> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| missing(format!("{name} is not set")))
}

fn missing(reason: String) -> Obstacle {
    let failure = env::var("KOMBU_REQUIRE_BROKERS").is_ok_and(|value| value == "1");
    Obstacle { reason, failure }
}
