//! Why a case did not pass.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use kombu_core::{Error, ErrorKind};

/// What a case comes to; a broken promise may as well panic.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It cannot be run here.
    Ignored(String),
    /// A promise was broken.
    Failed(String),
}

impl Failure {
    /// A broken promise.
    #[track_caller]
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self::at(&what.to_string(), Location::caller())
    }

    /// The same failure, with what had come before it.
    pub(crate) fn after(self, what: &str) -> Self {
        match self {
            Self::Failed(why) => Self::Failed(format!("{why}\n  {what}")),
            Self::Ignored(why) => Self::Ignored(why),
        }
    }

    /// A promise broken at a place in a case.
    pub(crate) fn at(what: &str, place: &Location<'_>) -> Self {
        Self::Failed(format!("{what}\n  at {}:{}", place.file(), place.line()))
    }
}

impl<E: StdError> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::new(format_args!("{error:?}"))
    }
}

/// The error of a call that must fail with one of these kinds.
#[track_caller]
pub(crate) fn refused<T: fmt::Debug>(
    result: Result<T, Error>,
    kinds: &[ErrorKind],
) -> Result<Error, Failure> {
    match result {
        Err(error) if kinds.contains(&error.kind()) => Ok(error),
        Err(error) => Err(Failure::new(format_args!("{kinds:?} was expected, it is {error:?}"))),
        Ok(answer) => Err(Failure::new(format_args!(
            "{kinds:?} was expected, but the call succeeded with {answer:?}"
        ))),
    }
}
