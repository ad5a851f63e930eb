//! The examples of the umbrella crate: each is run, as it is, on every transport.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::brokers::Transport;
use crate::cargo::cargo;
use crate::features::UMBRELLA;
use crate::interrupt::Interrupt;
use crate::suite::{self, Outcome};

/// The examples, built.
#[derive(Debug)]
pub(crate) struct Examples(BTreeSet<PathBuf>);

impl Examples {
    /// Builds them, with the packages whose tests are built too: so that both have the same
    /// dependencies.
    pub(crate) fn build(
        interrupt: &Interrupt,
        packages: &[String],
        features: &[String],
    ) -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--examples"]);
        let built = suite::artifacts(interrupt, &mut command, packages, features)?;
        let examples = built.iter().filter(|artifact| {
            artifact.package == UMBRELLA && artifact.message["target"]["kind"][0] == "example"
        });
        Ok(Self(examples.filter_map(|artifact| artifact.program.clone()).collect()))
    }

    /// Runs all of them on the broker of an environment; on a transport that has none there, inside
    /// of each process.
    pub(crate) fn run(
        &self,
        transport: &Transport,
        environment: &[(String, String)],
        interrupt: &Interrupt,
    ) -> Result<Outcome> {
        let variable = transport.url_variable();
        let given = environment.iter().rfind(|(name, _)| *name == variable);
        let url = given.map_or_else(|| format!("{}://", transport.name), |(_, url)| url.clone());
        self.0.iter().map(|program| run(program, &url, interrupt)).sum()
    }
}

/// Runs an example. One that asks a broker for what it cannot do is counted as ignored.
fn run(program: &Path, url: &str, interrupt: &Interrupt) -> Result<Outcome> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    println!("\n     Running example {name}");
    let begun = Instant::now();
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stderr(Stdio::piped());
    let (status, (in_time, errors)) = interrupt.run(&mut command, watch)?;
    let mut outcome = Outcome { time: begun.elapsed(), ..Outcome::default() };
    let said = match verdict(status, in_time, &errors) {
        Verdict::Passed => {
            outcome.passed = 1;
            "ok".to_owned()
        }
        Verdict::Ignored => {
            outcome.ignored = 1;
            format!("ignored, {}", errors.trim())
        }
        Verdict::Failed(why) => {
            outcome.failed = 1;
            format!("FAILED: {why}\n{errors}")
        }
    };
    println!("test example {name} ... {said}");
    Ok(outcome)
}

/// Waits for an example to end, and ends it when that takes too long; returns what it said.
fn watch(child: &mut Child) -> (bool, String) {
    let mut errors = child.stderr.take();
    let reading = thread::spawn(move || {
        let mut text = String::new();
        if let Some(errors) = &mut errors {
            let _not_utf8 = errors.read_to_string(&mut text);
        }
        text
    });
    let deadline = Instant::now() + LIMIT;
    let in_time = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ended = child.kill();
                break false;
            }
            _ => break true,
        }
    };
    (in_time, reading.join().unwrap_or_default())
}

#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Passed,
    Ignored,
    Failed(String),
}

fn verdict(status: ExitStatus, in_time: bool, errors: &str) -> Verdict {
    if !in_time {
        Verdict::Failed(format!("it did not end within {LIMIT:?}"))
    } else if status.success() {
        Verdict::Passed
    } else if status.code() == Some(1) && errors.contains("[Unsupported, scope") {
        Verdict::Ignored
    } else {
        Verdict::Failed(status.to_string())
    }
}

/// How long an example may take.
const LIMIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn only_what_a_broker_cannot_do_is_ignored() {
        let ended = |code: i32| ExitStatus::from_raw(code << 8);
        let unsupported = "Error: unsupported: no fanout [Unsupported, scope Local]";
        assert_eq!(verdict(ended(0), true, ""), Verdict::Passed);
        assert_eq!(verdict(ended(1), true, unsupported), Verdict::Ignored);
        for (status, in_time, errors) in [
            (ended(1), true, "Error: not found [NotFound, scope Local]"),
            (ended(101), true, unsupported),
            (ended(0), false, ""),
        ] {
            assert!(matches!(verdict(status, in_time, errors), Verdict::Failed(_)));
        }
    }
}
