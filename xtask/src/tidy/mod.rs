//! `tidy`: the house rules that a program can check.

mod arrows;
mod files;
mod layers;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::brokers::compose_file;
use crate::paths;

/// A file of the checkout.
#[derive(Debug)]
struct SourceFile {
    /// Its path from the root.
    path: String,
    /// Its content.
    text: String,
}

/// Runs the command.
pub(crate) fn run() -> Result<()> {
    let root = paths::workspace();
    let files = source_files(&root)?;
    let mut broken = Vec::new();
    for file in &files {
        broken.extend(files::check(file));
        broken.extend(layers::check(file));
    }
    broken.extend(arrows::check()?);
    broken.extend(transports(&root)?);
    let compose = fs::read_to_string(root.join("docker-compose.yml"))?;
    let differences = compose_file::differences(&compose);
    broken.extend(differences.iter().map(|line| format!("docker-compose.yml: {line}")));
    for warning in files.iter().filter_map(files::long) {
        eprintln!("warning: {warning}");
    }
    for rule in &broken {
        eprintln!("error: {rule}");
    }
    if !broken.is_empty() {
        bail!("{} house rules are broken", broken.len());
    }
    println!("{} files are tidy", files.len());
    Ok(())
}

/// Reads every text file that git has or would take.
fn source_files(root: &Path) -> Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    Ok(listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            // What is not UTF-8 is no source, what is gone is about to be committed as such.
            let text = fs::read_to_string(root.join(path)).ok()?;
            let path = path.to_owned();
            Some(SourceFile { path, text })
        })
        .collect())
}

/// Every transport crate has the same outside.
fn transports(root: &Path) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for entry in fs::read_dir(root.join("crates"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("kombu-transport-") {
            continue;
        }
        for file in ["README.md", "tests/conformance.rs"] {
            if !entry.path().join(file).exists() {
                missing.push(format!("crates/{name} has no {file}"));
            }
        }
    }
    Ok(missing)
}
