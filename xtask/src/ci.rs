//! `ci`: everything that must hold before a change is taken.

use anyhow::{Result, bail};

use crate::brokers::{install, transports};
use crate::cargo::cargo;
use crate::flags::Ci;
use crate::interrupt::Interrupt;
use crate::suite::{Outcome, count};
use crate::table::Table;

/// What is run, in this order, as one would type it after `cargo`. The last two are the commands of the README.
const STEPS: &[&str] = &[
    "fmt --all --check",
    "xtask tidy",
    "xtask licences",
    "clippy --workspace --all-targets --all-features -- -D warnings",
    "test --workspace --all-features --no-fail-fast",
    "doc --workspace --all-features --no-deps",
    "run --example quickstart",
    BROKERS,
];

/// The one that is about transports.
const BROKERS: &str = "xtask test-brokers";

/// Runs the command: every step, also after one that failed.
pub(crate) fn run(flags: &Ci, interrupt: &Interrupt) -> Result<()> {
    // A wrong name is told now, not after all other steps.
    transports(&flags.transports)?;
    // Steps with all features build the transport etcd.
    install::protoc()?;
    let mut table = Table::new(["step", "result", "tests", "seconds"]);
    let mut total = Outcome::default();
    let mut failed = 0;
    for step in STEPS {
        let mut step = (*step).to_owned();
        if step == BROKERS {
            step = [&[step], flags.transports.as_slice()].concat().join(" ");
        }
        println!("\n$ cargo {step}");
        let mut command = cargo();
        command.args(step.split(' ')).env("RUSTDOCFLAGS", "-D warnings");
        let outcome = count(interrupt, &mut command)?;
        let good = outcome.failed == 0 && outcome.broken == 0;
        failed += u32::from(!good);
        total.add(outcome);
        table.push([
            format!("cargo {step}"),
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
