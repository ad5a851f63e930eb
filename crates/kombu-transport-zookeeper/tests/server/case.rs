//! Runs the cases: some beside others, and those that disturb the servers alone.

use std::error::Error;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::ground;
use crate::here;

/// What became of a case.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A case: what it says, and what it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Variables of the environment that must be set beside the server's URL.
    pub(crate) needs: &'static [&'static str],
    /// Whether it disturbs the servers, so that nothing else may run meanwhile.
    pub(crate) alone: bool,
    pub(crate) act: fn() -> Pin<Box<dyn Future<Output = Outcome>>>,
}

/// Runs all cases, as cargo's test programs do.
pub(crate) fn run(cases: impl IntoIterator<Item = Vec<Case>>) -> ExitCode {
    let trials = cases.into_iter().flatten().map(Case::trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

impl Case {
    fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            let url = format!("KOMBU_TEST_{}_URL", here::NAME);
            for need in std::iter::once(url.as_str()).chain(self.needs.iter().copied()) {
                if ground::variable(need).is_none() {
                    let reason = format!("{need} is not set");
                    return match ground::variable("KOMBU_REQUIRE_BROKERS").as_deref() {
                        Some("1") => Err(Failed::from(reason)),
                        _ => Ok(Completion::ignored_with(reason)),
                    };
                }
            }
            let (_alone, _beside);
            if self.alone {
                _alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
            } else {
                _beside = TURN.read().unwrap_or_else(PoisonError::into_inner);
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            match runtime.block_on((self.act)()) {
                Ok(()) => Ok(Completion::Completed),
                // What these servers cannot be made to do.
                Err(error) if error.to_string().contains("has no action") => {
                    Ok(Completion::ignored_with(error.to_string()))
                }
                Err(error) => Err(Failed::from(error)),
            }
        })
    }
}

/// Lists the cases of a module: whether one may run `beside` others or only `alone`, and which
/// variables it needs beside the server's URL.
macro_rules! cases {
    ($($how:ident $name:ident [$($need:expr),*];)+) => {
        /// The cases of this module.
        pub(crate) fn cases() -> Vec<crate::case::Case> {
            vec![$(crate::case::Case {
                name: stringify!($name),
                needs: &[$($need),*],
                alone: stringify!($how) == "alone",
                act: || Box::pin($name()),
            }),+]
        }
    };
}
pub(crate) use cases;

static TURN: RwLock<()> = RwLock::new(());
