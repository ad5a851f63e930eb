//! Why a case did not pass, or what a side was refused.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

/// The result of what a case does.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error of either language.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Kombu's error kind, or the name of Python's exception.
    pub(crate) kind: String,
    message: String,
    place: &'static Location<'static>,
}

impl Failure {
    /// A failure of a kind.
    #[track_caller]
    pub(crate) fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind: kind.into(), message: message.into(), place: Location::caller() }
    }

    /// A failure of the test program itself.
    #[track_caller]
    pub(crate) fn own(message: impl Into<String>) -> Self {
        Self::new("test", message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, message, place } = self;
        write!(f, "{kind}: {message}\n  at {}:{}", place.file(), place.line())
    }
}

impl<E: StdError + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let ours = (&error as &dyn StdError).downcast_ref::<kombu::Error>();
        let kind = ours.map_or_else(|| "error".to_owned(), |ours| format!("{:?}", ours.kind()));
        Self::new(kind, format!("{error:?}"))
    }
}
