//! The Python environment of the interop peers, with the pinned packages of `interop/requirements.txt`.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::brokers::install;
use crate::brokers::run::lock;
use crate::paths;

/// The variable that tells tests which interpreter has the packages.
pub(crate) const VARIABLE: &str = "KOMBU_INTEROP_PYTHON";

/// Returns an interpreter that has the packages: the one given by [`VARIABLE`], else one in the cache,
/// which is made if need be.
pub(crate) fn interpreter() -> Result<PathBuf> {
    if let Some(given) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(given));
    }
    install::tools()?;
    let file = paths::workspace().join("interop/requirements.txt");
    let requirements =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let version = output("python3", &["-c".as_ref(), "import sys; print(sys.version)".as_ref()])?;
    let mut hasher = DefaultHasher::new();
    (requirements, version).hash(&mut hasher);
    let cache = paths::cache()?;
    let dir = cache.join(format!("venv-{:016x}", hasher.finish()));
    let complete = dir.join("complete");
    let _lock = lock(&cache.join("venv.lock"))?;
    if !complete.exists() {
        eprintln!("installing the Python packages of the interop peers");
        output("python3", &["-m".as_ref(), "venv".as_ref(), "--clear".as_ref(), dir.as_ref()])?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
        let mut arguments: Vec<&Path> = pip.iter().map(Path::new).collect();
        arguments.push(&file);
        output(python(&dir), &arguments)?;
        fs::write(&complete, "")?;
    }
    Ok(python(&dir))
}

/// The interpreter of an environment.
fn python(dir: &Path) -> PathBuf {
    dir.join("bin/python")
}

/// Runs a program and returns what it prints.
fn output(program: impl AsRef<Path>, arguments: &[&Path]) -> Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} {arguments:?}: {errors}", program.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
