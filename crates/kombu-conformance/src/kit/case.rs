//! Runs cases: some beside others, and those that disturb the broker alone.

use std::error::Error;
use std::fmt::{self, Display};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::variable;

/// What became of a case.
pub type Outcome = super::Result<()>;

/// A case: what it says, and what it needs. [`own_cases!`](crate::own_cases) lists them.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the macro")]
pub struct Case {
    /// The name of its function, which is a sentence.
    pub name: &'static str,
    /// Variables of the environment that must be set, or what else [`run_where`] knows.
    pub needs: &'static [&'static str],
    /// Whether it disturbs the broker, so that nothing else may run meanwhile.
    pub alone: bool,
    /// The case itself.
    pub act: fn() -> Pin<Box<dyn Future<Output = Outcome>>>,
}

/// Lists the cases of a module, whose functions take nothing and return an
/// [`Outcome`](crate::kit::Outcome): whether one may run `beside` others or only `alone`, and what
/// it needs. Makes the function `cases`.
#[macro_export]
macro_rules! own_cases {
    ($($how:ident $name:ident [$($need:expr),* $(,)?];)+) => {
        /// The cases of this module.
        pub(crate) fn cases() -> ::std::vec::Vec<$crate::kit::Case> {
            ::std::vec![$($crate::kit::Case {
                name: ::core::stringify!($name),
                needs: &[$($need),*],
                alone: ::core::matches!(::core::stringify!($how).as_bytes(), b"alone"),
                act: || ::std::boxed::Box::pin($name()),
            }),+]
        }
    };
}

/// Says that a case cannot be run here, which makes it ignored and not failed.
#[derive(Debug)]
pub struct Impossible(String);

impl Impossible {
    /// With the reason.
    #[must_use]
    pub fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Impossible {}

/// Runs cases as cargo's test programs do. One without a variable of the environment that it, or
/// all of them, need is ignored, or fails where `KOMBU_REQUIRE_BROKERS` is 1.
#[must_use]
pub fn run(always: &'static [&'static str], cases: impl IntoIterator<Item = Case>) -> ExitCode {
    run_where(always, cases, |_variable| None)
}

/// The same with needs that are no variables: `lacks` says whether a need is met, or why it is
/// not, which makes the case ignored; `None` is for variables.
#[must_use]
pub fn run_where(
    always: &'static [&'static str],
    cases: impl IntoIterator<Item = Case>,
    lacks: fn(&str) -> Option<Result<(), String>>,
) -> ExitCode {
    let trials = cases.into_iter().map(|case| trial(always, case, lacks)).collect();
    let mut arguments = Arguments::from_args();
    // Each case has two threads, and brokers have other work.
    arguments.test_threads.get_or_insert(4);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    always: &'static [&'static str],
    case: Case,
    lacks: fn(&str) -> Option<Result<(), String>>,
) -> Trial {
    Trial::ignorable_test(case.name, move || {
        for need in always.iter().chain(case.needs) {
            match lacks(need) {
                Some(Ok(())) => {}
                Some(Err(reason)) => return Ok(Completion::ignored_with(reason)),
                None if variable(need).is_some() => {}
                None => {
                    let reason = format!("{need} is not set");
                    return match variable("KOMBU_REQUIRE_BROKERS").as_deref() {
                        Some("1") => Err(Failed::from(reason)),
                        _ => Ok(Completion::ignored_with(reason)),
                    };
                }
            }
        }
        let (_alone, _beside);
        if case.alone {
            _alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
        } else {
            _beside = TURN.read().unwrap_or_else(PoisonError::into_inner);
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        match runtime.block_on((case.act)()) {
            Ok(()) => Ok(Completion::Completed),
            Err(error) if error.is::<Impossible>() => {
                Ok(Completion::ignored_with(error.to_string()))
            }
            Err(error) => Err(Failed::from(error)),
        }
    })
}

static TURN: RwLock<()> = RwLock::new(());
