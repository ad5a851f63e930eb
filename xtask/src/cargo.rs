//! Cargo, started by a program that cargo started.

use std::env;
use std::process::{Command, Stdio};

use crate::paths;

/// What cargo sets for the programs that it runs, by the start of the name.
const SET_BY_CARGO: &[&str] =
    &["CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_"];

/// Starts a cargo command line in the workspace.
///
/// It does not see the variables that cargo has set for this program. Some build scripts, ring's among them, build
/// their crate anew when one of those differs, which it does whenever cargo is called from a shell in between.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if SET_BY_CARGO.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command.current_dir(paths::workspace()).stdin(Stdio::null());
    command
}
