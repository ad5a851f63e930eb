//! Puts brokers' programs on this machine, by `ci/install-packages.sh`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::brokers::Broker;
use crate::brokers::run::lock;
use crate::paths;

/// Installs those brokers that are missing.
pub(crate) fn install(brokers: &[&'static dyn Broker]) -> Result<()> {
    let missing: Vec<_> =
        brokers.iter().filter(|broker| !broker.installed()).map(|broker| broker.name()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let _lock = lock(&paths::cache()?.join("install.lock"))?;
    let script = paths::workspace().join("ci/install-packages.sh");
    let output = Command::new(&script)
        .args(&missing)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!(
            "cannot install {}: {}{}",
            missing.join(", "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for broker in brokers {
        if !broker.installed() {
            bail!(
                "the packages of {} are installed, its programs are not where they should be",
                broker.name()
            );
        }
    }
    Ok(())
}
