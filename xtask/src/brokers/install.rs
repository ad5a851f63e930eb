//! Puts programs on this machine, by `ci/install-packages.sh`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::brokers::run::lock;
use crate::brokers::{Broker, etcd};
use crate::paths;

/// The group of packages that everything needs.
const BASE: &str = "base";

/// Installs those brokers that are missing.
pub(crate) fn brokers(brokers: &[&'static dyn Broker]) -> Result<()> {
    let mut missing = Vec::new();
    for broker in brokers.iter().filter(|broker| !broker.installed()) {
        if !broker.build()? {
            missing.push(broker.name());
        }
    }
    if !missing.is_empty() {
        packages(&missing)?;
    }
    for broker in brokers {
        if !broker.installed() {
            bail!("{} is installed, its programs are not where they should be", broker.name());
        }
    }
    Ok(())
}

/// Installs what the driver of the transport etcd is built with, if it is missing.
pub(crate) fn protoc() -> Result<()> {
    if etcd::compiler_installed() {
        return Ok(());
    }
    packages(&["protoc"])
}

/// Installs openssl and Python with its virtual environments, if one of them is missing.
pub(crate) fn tools() -> Result<()> {
    let works = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if works("openssl", &["version"]) && works("python3", &["-c", "import ensurepip, venv"]) {
        return Ok(());
    }
    packages(&[BASE])
}

/// Installs groups of packages.
fn packages(groups: &[&str]) -> Result<()> {
    let _lock = lock(&paths::cache()?.join("install.lock"))?;
    let script = paths::workspace().join("ci/install-packages.sh");
    eprintln!("installing packages: {}", groups.join(", "));
    let output = Command::new(&script)
        .args(groups)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    if !output.status.success() {
        bail!(
            "cannot install {}: {}{}",
            groups.join(", "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
