//! Runs the cases, each on folders and a runtime of its own.

use std::error::Error;
use std::pin::Pin;

use libtest_mimic::{Completion, Failed, Trial};

use crate::ground::{Ground, variable};

/// What became of a case; `Ok` with a text if it cannot be run here.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A case: what it says, and what it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Variables of the environment that must be set.
    pub(crate) needs: &'static [&'static str],
    pub(crate) act: for<'a> fn(&'a Ground) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>,
}

impl Case {
    /// The case as a test.
    pub(crate) fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            for need in self.needs {
                if variable(need).is_none() {
                    let reason = format!("{need} is not set");
                    return match variable("KOMBU_REQUIRE_BROKERS").as_deref() {
                        Some("1") => Err(Failed::from(reason)),
                        _ => Ok(Completion::ignored_with(reason)),
                    };
                }
            }
            let ground = Ground::new(self.name)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            match runtime.block_on((self.act)(&ground)) {
                Ok(()) => Ok(Completion::Completed),
                // What cannot be brought about here.
                Err(error) if error.is::<Impossible>() => {
                    Ok(Completion::ignored_with(error.to_string()))
                }
                Err(error) => Err(Failed::from(error)),
            }
        })
    }
}

/// Why a case cannot be run on this machine.
#[derive(Debug)]
pub(crate) struct Impossible(pub(crate) String);

impl std::fmt::Display for Impossible {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Impossible {}

/// Lists the cases of a module, with the variables that each needs.
macro_rules! cases {
    ($($name:ident [$($need:literal),*];)+) => {
        /// The cases of this module.
        pub(crate) fn cases() -> Vec<crate::case::Case> {
            vec![$(crate::case::Case {
                name: stringify!($name),
                needs: &[$($need),*],
                act: |ground| Box::pin($name(ground)),
            }),+]
        }
    };
}
pub(crate) use cases;
