//! What a handler makes of its message.

use std::any::Any;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// What a handler made of its message.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is done with.
    Done,
    /// It is given up at once, for this reason.
    Reject(String),
    /// It goes back to the head of its queue, and comes again at once; that counts as no attempt.
    Requeue,
    /// It failed for this reason, and is tried again as the worker's policy says.
    Retry(String),
}

/// What a handler can return: nothing, a [`Verdict`], or a `Result` of these.
///
/// An error means [`Verdict::Retry`]; one of this crate that says that the body cannot be read
/// means [`Verdict::Reject`], for it will not be readable the next time.
pub trait IntoVerdict {
    /// The verdict.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for () {
    fn into_verdict(self) -> Verdict {
        Verdict::Done
    }
}

impl<T: IntoVerdict, E: fmt::Display + 'static> IntoVerdict for Result<T, E> {
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(value) => value.into_verdict(),
            Err(error) if is_for_good(&error) => Verdict::Reject(error.to_string()),
            Err(error) => Verdict::Retry(error.to_string()),
        }
    }
}

fn is_for_good(error: &dyn Any) -> bool {
    let kind = error.downcast_ref::<Error>().map(Error::kind);
    matches!(kind, Some(ErrorKind::ContentDisallowed | ErrorKind::Decode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_tried_again_unless_the_body_cannot_be_read() {
        assert_eq!(().into_verdict(), Verdict::Done);
        assert_eq!(Ok::<_, String>(Verdict::Requeue).into_verdict(), Verdict::Requeue);
        assert_eq!(Err::<(), _>("late").into_verdict(), Verdict::Retry("late".to_owned()));
        let error = |kind| Err::<(), _>(Error::new(kind, "no"));
        assert!(matches!(error(ErrorKind::Timeout).into_verdict(), Verdict::Retry(_)));
        assert!(matches!(error(ErrorKind::Decode).into_verdict(), Verdict::Reject(_)));
        assert!(matches!(error(ErrorKind::ContentDisallowed).into_verdict(), Verdict::Reject(_)));
    }
}
