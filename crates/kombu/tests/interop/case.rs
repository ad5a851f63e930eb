//! A case: what it is called, what it needs, what it does.

use std::future::Future;
use std::pin::Pin;

use crate::failure::Result;
use crate::pair::Pair;
use crate::side::Language;

/// What a case does.
pub(crate) type Act = for<'a> fn(&'a mut Pair) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Needs that are no capability of a broker, but of Python's Kombu on it.
pub(crate) const PYTHON_ONLY: [&str; 8] = [
    // Headers may be bytes, times and decimals.
    "typed_headers",
    // The `#` of a topic matches no word, too.
    "topic_no_word",
    // An empty text is a text.
    "empty_text",
    // An empty queue has a size, which is none.
    "size_of_empty",
    // The type of an exchange is known to those who did not declare it.
    "shared_types",
    // A queue of a fanout exchange keeps what comes before anyone consumes from it.
    "early_fanout",
    // It gets all that comes, whatever came to other exchanges.
    "own_fanout",
    // What Python publishes is in order, however fast it follows.
    "publishing_order",
];

/// Who sends and who receives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    PythonToRust,
    RustToPython,
}

impl Direction {
    pub(crate) const BOTH: [Self; 2] = [Self::RustToPython, Self::PythonToRust];

    /// The last part of a case's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PythonToRust => "python_to_rust",
            Self::RustToPython => "rust_to_python",
        }
    }

    pub(crate) fn sender(self) -> Language {
        match self {
            Self::PythonToRust => Language::Python,
            Self::RustToPython => Language::Rust,
        }
    }
}

/// A case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its subject and its statement, such as `exchange::topic`.
    pub(crate) name: &'static str,
    /// Capabilities by name, some of [`PYTHON_ONLY`], or where the case belongs: `from python` in
    /// one direction only, `on amqp` to one transport only.
    pub(crate) needs: &'static [&'static str],
    pub(crate) act: Act,
}

impl Case {
    /// The case of a function in a module of cases.
    pub(crate) fn new(path: &'static str, needs: &'static [&'static str], act: Act) -> Self {
        let name = path.split_once("::cases::").map_or(path, |(_, name)| name);
        Self { name, needs, act }
    }

    /// Whether the case is one of this transport and direction.
    pub(crate) fn belongs(&self, transport: &str, direction: Direction) -> bool {
        self.needs.iter().all(|need| match *need {
            "from python" => direction == Direction::PythonToRust,
            "on amqp" => transport == "amqp",
            _ => true,
        })
    }

    /// Whether the case is about what a message holds.
    pub(crate) fn is_about_messages(&self) -> bool {
        ["body::", "codec::", "header::", "property::"]
            .iter()
            .any(|subject| self.name.starts_with(subject))
    }

    /// What broker and peer must be able to do.
    pub(crate) fn abilities(&self) -> impl Iterator<Item = &'static str> {
        self.needs.iter().copied().filter(|need| !need.contains(' '))
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
                |pair| Box::pin($name(pair)),
            )),+]
        }
    };
}
pub(crate) use cases;
