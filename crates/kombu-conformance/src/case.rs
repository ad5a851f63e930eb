//! One case of the suite: its name, what it needs, and what it does.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::failure::Outcome;
use crate::stage::Stage;

/// What a case does, on its own stage.
pub(crate) type Act = for<'a> fn(&'a Stage) -> Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// A case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its subject and its statement, such as `ack::settling_twice_is_an_error`.
    pub(crate) name: &'static str,
    /// Capabilities by name, with a `!` in front for one that must be missing, and `control`,
    /// `credentials`, `tcp` for what the target must have.
    pub(crate) needs: &'static [&'static str],
    /// What it does.
    pub(crate) act: Act,
}

impl Case {
    /// The case of a function in a module of cases.
    pub(crate) fn new(name: &'static str, needs: &'static [&'static str], act: Act) -> Self {
        let name = name.strip_prefix(concat!(env!("CARGO_CRATE_NAME"), "::cases::"));
        Self { name: name.expect("cases are in the module cases"), needs, act }
    }

    /// Whether it disturbs the broker, so that nothing else may run beside it.
    pub(crate) fn is_alone(&self) -> bool {
        self.name.starts_with("recovery::")
    }

    /// How long it may take.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(if self.is_alone() { 120 } else { 30 })
    }
}

/// Lists the cases of a module: a line for each, with what it needs.
macro_rules! cases {
    ($($name:ident [$($need:literal),* $(,)?];)+) => {
        /// The cases of this module.
        pub(in crate::cases) fn cases() -> Vec<crate::case::Case> {
            vec![$(crate::case::Case::new(
                concat!(module_path!(), "::", stringify!($name)),
                &[$($need),*],
                |stage| Box::pin($name(stage)),
            )),+]
        }
    };
}
pub(crate) use cases;
