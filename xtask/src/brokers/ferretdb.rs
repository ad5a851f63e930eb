//! FerretDB, which speaks MongoDB's protocol and is to be had without MongoDB: built from its source with Go.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::brokers::process::Process;
use crate::brokers::run::lock;
use crate::paths;

/// The module that is built.
const MODULE: &str = "github.com/FerretDB/FerretDB@v1.24.2";
const VERSION: &str = "v1.24.2";

/// The program around it, and what is changed in it.
const MAIN: &str = include_str!("../../../ci/mongodb/ferretdb.go");
const PATCH: &str = include_str!("../../../ci/mongodb/ferretdb.patch");

/// What `go mod download` says of a module.
#[derive(Debug, Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    dir: PathBuf,
}

/// Where the program is, once built.
pub(crate) fn program() -> Result<PathBuf> {
    Ok(folder()?.join("ferretdb"))
}

/// Builds the program, if it is not in the cache.
pub(crate) fn build() -> Result<()> {
    let folder = folder()?;
    let program = program()?;
    let _lock = lock(&paths::cache()?.join("ferretdb.lock"))?;
    if program.exists() {
        return Ok(());
    }
    run(Command::new("go").arg("version")).context(
        "MongoDB's stand-in is built from source and needs Go 1.24 or later on the PATH",
    )?;
    eprintln!("building FerretDB {VERSION}, which takes some minutes");
    let source = folder.join("source");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    fs::create_dir_all(&folder)?;
    let told =
        run(Command::new("go").args(["mod", "download", "-json", MODULE]).current_dir(&folder))?;
    let module: Downloaded = serde_json::from_str(&told)?;
    run(Command::new("cp").arg("-r").arg(&module.dir).arg(&source))?;
    // Modules are kept read-only.
    run(Command::new("chmod").args(["-R", "u+w"]).arg(&source))?;
    fs::write(source.join("build/version/version.txt"), VERSION)?;
    let main = source.join("cmd/kombu");
    fs::create_dir_all(&main)?;
    fs::write(main.join("main.go"), MAIN)?;
    fs::write(source.join("kombu.patch"), PATCH)?;
    run(Command::new("git").args(["apply", "kombu.patch"]).current_dir(&source))?;
    let unfinished = folder.join("unfinished");
    run(Command::new("go")
        .args(["build", "-trimpath", "-buildvcs=false", "-mod=mod"])
        .args(["-tags", "ferretdb_no_mysql,ferretdb_no_postgresql", "-o"])
        .arg(&unfinished)
        .arg("./cmd/kombu")
        .env("CGO_ENABLED", "0")
        .current_dir(&source))?;
    fs::remove_dir_all(&source)?;
    Ok(fs::rename(unfinished, program)?)
}

/// Says how to start a server in a folder; `arguments` beside those that every one has.
pub(crate) fn server(name: &str, dir: &Path, port: u16, arguments: &[String]) -> Result<Process> {
    let mut command = vec![program()?.display().to_string()];
    command.extend(["-listen".to_owned(), format!("127.0.0.1:{port}")]);
    command.extend(["-data".to_owned(), dir.join("data").display().to_string()]);
    command.extend_from_slice(arguments);
    Ok(Process {
        name: name.to_owned(),
        server: true,
        command,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        log: dir.join("ferretdb.log"),
        id: None,
    })
}

/// The folder in the cache, another one for each source.
fn folder() -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    (MODULE, MAIN, PATCH).hash(&mut hasher);
    Ok(paths::cache()?.join(format!("ferretdb-{:016x}", hasher.finish())))
}

/// Runs a program and returns what it prints.
fn run(command: &mut Command) -> Result<String> {
    // Whatever repository the cache may be in is not meant.
    command.env("GIT_CEILING_DIRECTORIES", env::temp_dir()).env_remove("GIT_DIR");
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {}{errors}", String::from_utf8_lossy(&output.stdout));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
