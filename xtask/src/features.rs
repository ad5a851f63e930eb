//! `features`: whether the umbrella builds with none of its features, with each alone, and with all.

use anyhow::{Context, Result, bail};

use crate::brokers::{TRANSPORTS, Transport, install};
use crate::cargo::cargo;
use crate::interrupt::Interrupt;
use crate::metadata::{elements, metadata, text};
use crate::table::Table;

/// The crate whose features users choose.
pub(crate) const UMBRELLA: &str = "kombu";

/// Runs the command.
pub(crate) fn run(interrupt: &Interrupt) -> Result<()> {
    install::protoc()?;
    let mut table = Table::new(["features", ""]);
    let mut failed = 0;
    let mut check = |name: &str, arguments: &[&str]| -> Result<()> {
        let mut command = cargo();
        command
            .args(["clippy", "--quiet", "--package", UMBRELLA])
            .args(arguments)
            .args(["--", "-D", "warnings"]);
        let (status, ()) = interrupt.run(&mut command, |_| ())?;
        failed += u32::from(!status.success());
        let result = if status.success() { "builds" } else { "FAILED" };
        table.push([name.to_owned(), result.to_owned()]);
        Ok(())
    };
    check("none", &["--no-default-features"])?;
    for feature in of_umbrella()? {
        check(&feature, &["--no-default-features", "--features", &feature])?;
    }
    check("all", &["--all-features"])?;
    println!("{table}");
    if failed > 0 {
        bail!("{failed} sets of features do not build");
    }
    Ok(())
}

/// The umbrella's features for tests of some transports: these, none of the others, and all that is no transport.
pub(crate) fn for_transports(chosen: &[&'static Transport]) -> Result<Vec<String>> {
    let is_transport = |name: &str| {
        PARTS.contains(&name) || TRANSPORTS.iter().any(|transport| transport.name == name)
    };
    let is_chosen = |name: &str| chosen.iter().any(|transport| transport.name == name);
    Ok(of_umbrella()?
        .into_iter()
        .filter(|name| name != "full" && (is_chosen(name) || !is_transport(name)))
        .map(|name| format!("{UMBRELLA}/{name}"))
        .collect())
}

/// Features that are a part of a transport, whose own feature has them all.
const PARTS: &[&str] = &["mysql", "postgres", "sqlite"];

/// The umbrella's features that are meant for users.
fn of_umbrella() -> Result<Vec<String>> {
    let workspace = metadata(&["--no-deps"])?;
    let umbrella = elements(&workspace["packages"])
        .find(|package| text(&package["name"]) == UMBRELLA)
        .context("no umbrella crate")?;
    let features = umbrella["features"].as_object().into_iter().flatten();
    Ok(features.map(|(name, _)| name.clone()).filter(|name| !name.starts_with('_')).collect())
}
