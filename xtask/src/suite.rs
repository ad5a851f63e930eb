//! Test programs: built once by cargo, then run as often as there are brokers to run them on.

use std::fs;
use std::io::{BufRead, BufReader};
use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::cargo;
use crate::interrupt::Interrupt;

/// A program with tests in it.
#[derive(Clone, Debug)]
pub(crate) struct TestProgram {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The target's name, such as `conformance`.
    pub(crate) target: String,
    /// The package's folder, in which cargo would run it.
    dir: PathBuf,
    /// The program itself.
    program: PathBuf,
}

/// What came of some tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests that held.
    pub(crate) passed: u64,
    /// Tests that did not.
    pub(crate) failed: u64,
    /// Tests that could not be run, such as for a capability that the broker lacks.
    pub(crate) ignored: u64,
    /// Programs that ended badly without saying that a test failed.
    pub(crate) broken: u64,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Something that cargo has built.
#[derive(Debug)]
pub(crate) struct Artifact {
    /// The package it belongs to.
    pub(crate) package: String,
    /// The program, if it is one.
    pub(crate) program: Option<PathBuf>,
    /// All that cargo says about it.
    pub(crate) message: Value,
}

/// Builds the test programs of packages.
pub(crate) fn build(
    interrupt: &Interrupt,
    packages: &[String],
    features: &[String],
) -> Result<Vec<TestProgram>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--lib", "--tests"]);
    let built = artifacts(interrupt, &mut command, packages, features)?;
    Ok(built.into_iter().filter_map(test_program).collect())
}

/// Runs a cargo command for packages and returns what it has built.
pub(crate) fn artifacts(
    interrupt: &Interrupt,
    command: &mut Command,
    packages: &[String],
    features: &[String],
) -> Result<Vec<Artifact>> {
    command.arg("--message-format=json-render-diagnostics");
    for package in packages {
        command.args(["--package", package]);
    }
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    command.stdout(Stdio::piped());
    let (status, artifacts) = interrupt.run(command, |child| {
        let messages = child.stdout.take().map(BufReader::new);
        let lines = messages.into_iter().flat_map(BufRead::lines);
        lines.map_while(Result::ok).filter_map(|line| artifact(&line)).collect::<Vec<_>>()
    })?;
    if !status.success() {
        bail!("the tests do not build");
    }
    Ok(artifacts)
}

impl TestProgram {
    /// Runs it, shows what it prints and counts what its closing lines say.
    pub(crate) fn run(
        &self,
        interrupt: &Interrupt,
        arguments: &[String],
        env: &[(String, String)],
    ) -> Result<Outcome> {
        println!("\n     Running {} {} {}", self.package, self.target, arguments.join(" "));
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("CARGO_MANIFEST_DIR", &self.dir)
            .current_dir(&self.dir);
        count(interrupt, &mut command)
    }
}

/// Runs a command that prints cargo's closing line for tests, `test result: …`.
pub(crate) fn count(interrupt: &Interrupt, command: &mut Command) -> Result<Outcome> {
    let begun = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let (status, mut outcome) = interrupt.run(command, show_and_count)?;
    outcome.time = begun.elapsed();
    if !status.success() && outcome.failed == 0 {
        eprintln!("{:?} ended with {status}", command.get_program());
        outcome.broken += 1;
    }
    Ok(outcome)
}

impl Sum for Outcome {
    fn sum<I: Iterator<Item = Self>>(outcomes: I) -> Self {
        outcomes.fold(Self::default(), |mut sum, outcome| {
            sum.add(outcome);
            sum
        })
    }
}

impl Outcome {
    /// Adds another outcome to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.broken += other.broken;
        self.time += other.time;
    }

    /// Whether tests ran and all held: none at all proves nothing.
    pub(crate) fn good(&self) -> bool {
        self.passed > 0 && self.failed == 0 && self.broken == 0
    }
}

/// Passes a child's output on, line by line, and adds up its results.
fn show_and_count(child: &mut Child) -> Outcome {
    let mut outcome = Outcome::default();
    let output = child.stdout.take().map(BufReader::new);
    for line in output.into_iter().flat_map(|output| output.split(b'\n')) {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(result) = closing_line(&line) {
            outcome.add(result);
        }
    }
    outcome
}

/// Reads `test result: ok. 2 passed; 0 failed; 1 ignored; …`.
fn closing_line(line: &str) -> Option<Outcome> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut outcome = Outcome::default();
    for count in counts.split("; ") {
        let (number, what) = count.split_once(' ')?;
        match what {
            "passed" => outcome.passed = number.parse().ok()?,
            "failed" => outcome.failed = number.parse().ok()?,
            "ignored" => outcome.ignored = number.parse().ok()?,
            _ => {}
        }
    }
    Some(outcome)
}

/// Reads cargo's message about something that it has built.
fn artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    Some(Artifact {
        package: package_name(Path::new(message["manifest_path"].as_str()?)).ok()?,
        program: message["executable"].as_str().map(PathBuf::from),
        message,
    })
}

/// The test program that cargo has built.
fn test_program(Artifact { package, program, message }: Artifact) -> Option<TestProgram> {
    if message["profile"]["test"] != true {
        return None;
    }
    Some(TestProgram {
        package,
        target: message["target"]["name"].as_str()?.to_owned(),
        dir: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
        program: program?,
    })
}

/// Reads a package's name from its manifest.
fn package_name(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest)?;
    text.lines()
        .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("no name in {}", manifest.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        let outcome = closing_line(line).unwrap();
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (12, 3, 4));
        assert_eq!(closing_line("test something ... ok"), None);
    }

    #[test]
    fn no_tests_are_no_success() {
        assert!(!Outcome::default().good());
        let ignored = Outcome { ignored: 5, ..Outcome::default() };
        assert!(!ignored.good());
    }
}
