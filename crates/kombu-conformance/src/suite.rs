//! Runs the cases: each on a thread and a runtime of its own, with a limit.

use std::any::Any;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use kombu_core::transport::Capabilities;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::case::Case;
use crate::cases;
use crate::failure::Failure;
use crate::stage::{self, Stage};
use crate::target::Target;

/// What a case came to.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// A promise is broken; the text says which and where.
    Failed(String),
    /// The case cannot be run on this target; the text says why.
    Ignored(String),
    /// All promises were kept.
    Passed,
}

/// Runs the suite as a test program: with cargo's arguments, output and exit code.
///
/// Cases about recovery disturb the broker; they run after all others, one at a time.
#[must_use]
pub fn run(target: Target) -> ExitCode {
    let arguments = Arguments::from_args();
    let probed = if arguments.list { Probed::unasked(&target) } else { Probed::of(&target) };
    let suite = Suite::new(target, probed);
    let (alone, together): (Vec<_>, Vec<_>) =
        suite.cases().into_iter().partition(|(_, case)| case.is_alone());
    let trials = |cases: Vec<(usize, Case)>| -> Vec<Trial> {
        let trials = cases.into_iter().map(|(number, case)| trial(&suite, number, case));
        trials.filter(|trial| !arguments.is_filtered_out(trial)).collect()
    };
    let (together, alone) = (trials(together), trials(alone));
    let mut good = true;
    if !together.is_empty() || alone.is_empty() {
        let threads = arguments.test_threads.unwrap_or(THREADS);
        good &= run_on(&arguments, threads, together);
    }
    if !alone.is_empty() {
        good &= run_on(&arguments, 1, alone);
    }
    if good { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// Runs trials on so many threads, and says whether all held.
fn run_on(arguments: &Arguments, threads: usize, trials: Vec<Trial>) -> bool {
    let arguments = Arguments { test_threads: Some(threads), ..arguments.clone() };
    !libtest_mimic::run(&arguments, trials).has_failed()
}

/// How many cases run at a time unless the arguments say so: they mostly wait.
const THREADS: usize = 8;

/// Runs the cases whose name has `part` in it, one at a time, and says what each came to.
#[must_use]
pub fn verdicts(target: Target, part: &str) -> Vec<(&'static str, Verdict)> {
    let probed = Probed::of(&target);
    let suite = Suite::new(target, probed);
    let cases = suite.cases().into_iter().filter(|(_, case)| case.name.contains(part));
    cases.map(|(number, case)| (case.name, suite.verdict(number, case))).collect()
}

/// What is known of the broker before any case is run.
enum Probed {
    /// It answers, and can do this.
    Can(Capabilities),
    /// It does not answer, or there is none: all cases come to this.
    Not(Capabilities, Verdict),
}

impl Probed {
    /// Asks the broker.
    fn of(target: &Target) -> Self {
        let claimed = target.transport.capabilities();
        let url = match &target.url {
            Ok(url) => url,
            Err(missing) if missing.required => {
                return Self::Not(claimed, Verdict::Failed(missing.reason.clone()));
            }
            Err(missing) => return Self::Not(claimed, Verdict::Ignored(missing.reason.clone())),
        };
        let asked = runtime().and_then(|runtime| {
            runtime.block_on(async {
                let connection = stage::builder(target, url.as_str()).connect().await?;
                let can = connection.capabilities().await?;
                connection.close().await?;
                Ok(can)
            })
        });
        match asked {
            Ok(can) => Self::Can(can),
            Err(Failure::Failed(why) | Failure::Ignored(why)) => {
                Self::Not(claimed, Verdict::Failed(format!("no broker answers: {why}")))
            }
        }
    }

    /// What the transport itself claims.
    fn unasked(target: &Target) -> Self {
        Self::Can(target.transport.capabilities())
    }
}

/// The suite on its target.
#[derive(Clone, Debug)]
struct Suite {
    target: Arc<Target>,
    can: Capabilities,
    /// What all cases come to.
    settled: Option<Verdict>,
}

impl Suite {
    fn new(target: Target, probed: Probed) -> Self {
        let (can, settled) = match probed {
            Probed::Can(can) => (can, None),
            Probed::Not(can, verdict) => (can, Some(verdict)),
        };
        Self { target: Arc::new(target), can, settled }
    }

    /// The cases with their numbers, without refusals of what the broker can do.
    fn cases(&self) -> Vec<(usize, Case)> {
        let claimed = |need: &&str| {
            need.strip_prefix('!').is_some_and(|missing| self.can.has(missing) == Some(true))
        };
        let all = cases::all().into_iter().enumerate();
        all.filter(|(_, case)| !case.needs.iter().any(claimed)).collect()
    }

    /// Why a case cannot be run.
    fn obstacle(&self, case: Case) -> Option<String> {
        case.needs.iter().find_map(|need| {
            if self.can.has(need) == Some(false) {
                return Some(format!("needs {need}"));
            }
            self.target.lacks(need).map(str::to_owned)
        })
    }

    /// Runs a case.
    fn verdict(&self, number: usize, case: Case) -> Verdict {
        if let Some(verdict) = &self.settled {
            return verdict.clone();
        }
        if let Some(obstacle) = self.obstacle(case) {
            return Verdict::Ignored(obstacle);
        }
        let stage = Stage::new(Arc::clone(&self.target), self.can, number);
        let (done, result) = mpsc::channel();
        let thread = thread::spawn(move || {
            // The receiver is gone if the case was given up.
            drop(done.send(play(case, &stage)));
        });
        // The case ends by itself at its limit, unless it blocks its thread.
        let given_up = case.limit() + Duration::from_secs(20);
        match result.recv_timeout(given_up) {
            Ok(Ok(())) => Verdict::Passed,
            Ok(Err(Failure::Failed(why))) => Verdict::Failed(why),
            Ok(Err(Failure::Ignored(why))) => Verdict::Ignored(why),
            Err(RecvTimeoutError::Timeout) => Verdict::Failed(format!(
                "the case blocks its thread for more than {given_up:?}: a blocking call in an \
                 async function, or a lock that is never let go"
            )),
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Ok(()) => Verdict::Failed("the case ended without a result".to_owned()),
                Err(payload) => Verdict::Failed(format!("panicked: {}", text(&*payload))),
            },
        }
    }
}

/// Plays a case to its end or its limit, and clears the stage.
fn play(case: Case, stage: &Stage) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let limit = case.limit();
        let ended = timeout(limit, (case.act)(stage)).await;
        ended.unwrap_or_else(|_elapsed| {
            Err(Failure::Failed(format!("the case has a limit of {limit:?} and did not end")))
        })
    });
    runtime.block_on(stage.clear());
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

/// A runtime as programs have it.
fn runtime() -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The trial of a case.
fn trial(suite: &Suite, number: usize, case: Case) -> Trial {
    let suite = suite.clone();
    Trial::ignorable_test(case.name, move || match suite.verdict(number, case) {
        Verdict::Passed => Ok(Completion::Completed),
        Verdict::Ignored(reason) => Ok(Completion::ignored_with(reason)),
        Verdict::Failed(why) => Err(Failed::from(why)),
    })
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_need_means_something() {
        for case in cases::all() {
            for need in case.needs {
                let name = need.strip_prefix('!').unwrap_or(need);
                let known = Capabilities::default().has(name).is_some()
                    || ["control", "credentials", "tcp"].contains(need);
                assert!(known, "{} needs {need:?}", case.name);
            }
        }
    }

    #[test]
    fn every_promise_of_the_transport_interface_has_a_case() {
        let interface = include_str!("../../kombu-core/src/transport/mod.rs");
        let named = interface.lines().map(str::trim_start).filter_map(|line| {
            let text = line.strip_prefix("/// - ")?;
            Some(text.split('`').skip(1).step_by(2))
        });
        let promises: Vec<_> = named
            .flatten()
            .filter(|name| name.matches('_').count() >= 2 && !name.contains(char::is_uppercase))
            .collect();
        assert!(promises.len() >= 18, "{promises:?}");
        let cases = cases::all();
        for promise in promises {
            let has_its_name = |case: &Case| case.name.ends_with(&format!("::{promise}"));
            assert!(cases.iter().any(has_its_name), "there is no case {promise}");
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names = HashSet::new();
        for case in cases::all() {
            assert!(names.insert(case.name), "{}", case.name);
        }
    }
}
