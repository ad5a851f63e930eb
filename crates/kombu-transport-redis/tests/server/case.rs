//! Runs the cases: some beside others, and those that disturb the server alone.

use std::error::Error;
use std::pin::Pin;
use std::sync::{PoisonError, RwLock};

use libtest_mimic::{Completion, Failed, Trial};

use crate::ground;

/// What became of a case.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A case: what it says, and what it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Variables of the environment that must be set beside the server's URL.
    pub(crate) needs: &'static [&'static str],
    /// Whether it disturbs the server, so that nothing else may run meanwhile.
    pub(crate) alone: bool,
    pub(crate) act: fn() -> Pin<Box<dyn Future<Output = Outcome>>>,
}

impl Case {
    /// The case as a test.
    pub(crate) fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            let needs = std::iter::once(&"KOMBU_TEST_REDIS_URL").chain(self.needs);
            for need in needs {
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
                // What this server cannot be made to do.
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
    ($($how:ident $name:ident [$($need:literal),*];)+) => {
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
