//! `ci`: everything that must hold before a change is taken.

use std::process::Command;

use anyhow::{Result, bail};

use crate::interrupt::Interrupt;
use crate::paths;
use crate::suite::{Outcome, count};
use crate::table::Table;

/// What is run, in this order, as one would type it. The last two are the commands of the README.
const STEPS: &[&str] = &[
    "cargo fmt --all --check",
    "cargo xtask tidy",
    "cargo xtask licences",
    "cargo clippy --workspace --all-targets --all-features -- -D warnings",
    "cargo test --workspace --all-features --no-fail-fast",
    "cargo doc --workspace --all-features --no-deps",
    "cargo run --example quickstart",
    "cargo xtask test-brokers",
];

/// Runs the command: every step, also after one that failed.
pub(crate) fn run(interrupt: &Interrupt) -> Result<()> {
    let mut table = Table::new(["step", "result", "tests", "seconds"]);
    let mut total = Outcome::default();
    let mut failed = 0;
    for step in STEPS {
        println!("\n$ {step}");
        let mut words = step.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env("RUSTDOCFLAGS", "-D warnings").current_dir(paths::workspace());
        let outcome = count(interrupt, &mut command)?;
        let good = outcome.failed == 0 && outcome.broken == 0;
        failed += u32::from(!good);
        total.add(outcome);
        table.push([
            (*step).to_owned(),
            if good { "ok" } else { "FAILED" }.to_owned(),
            match outcome.passed + outcome.failed {
                0 => String::new(),
                tests => tests.to_string(),
            },
            format!("{:.0}", outcome.time.as_secs_f32()),
        ]);
    }
    println!("\n{table}");
    let Outcome { passed, ignored, .. } = total;
    println!("{passed} passed, {} failed, {ignored} skipped", total.failed);
    if failed > 0 {
        bail!("{failed} steps failed");
    }
    Ok(())
}
