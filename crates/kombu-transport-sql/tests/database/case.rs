//! Runs the cases.

use std::error::Error;
use std::pin::Pin;

use libtest_mimic::{Completion, Failed, Trial};

use crate::ground::{self, Database};

/// What became of a case.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// A case: what it says, and what it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// `sqlite`, `server`, or variables of the environment.
    pub(crate) needs: &'static [&'static str],
    pub(crate) act: fn() -> Pin<Box<dyn Future<Output = Outcome>>>,
}

impl Case {
    /// The case as a test.
    pub(crate) fn trial(self) -> Trial {
        Trial::ignorable_test(self.name, move || {
            let is_file = ground::database() == Database::Sqlite;
            for need in self.needs {
                let lack = match *need {
                    "sqlite" if !is_file => "it is about files".to_owned(),
                    "server" if is_file => "it is about servers".to_owned(),
                    "sqlite" | "server" => continue,
                    variable if ground::variable(variable).is_some() => continue,
                    variable => {
                        let reason = format!("{variable} is not set");
                        if ground::variable("KOMBU_REQUIRE_BROKERS").as_deref() == Some("1") {
                            return Err(Failed::from(reason));
                        }
                        reason
                    }
                };
                return Ok(Completion::ignored_with(lack));
            }
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()?;
            runtime.block_on((self.act)()).map_err(Failed::from)?;
            Ok(Completion::Completed)
        })
    }
}

/// Lists the cases of a module, and what each needs.
macro_rules! cases {
    ($($name:ident [$($need:literal),*];)+) => {
        /// The cases of this module.
        pub(crate) fn cases() -> Vec<crate::case::Case> {
            vec![$(crate::case::Case {
                name: stringify!($name),
                needs: &[$($need),*],
                act: || Box::pin($name()),
            }),+]
        }
    };
}
pub(crate) use cases;
