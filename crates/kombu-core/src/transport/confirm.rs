//! The answer to a publish or a settlement, awaited apart from its sending.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Resolves when the broker has answered. Dropping it changes nothing but that nobody hears.
///
/// # Cancel safety
///
/// Cancel safe.
#[derive(Debug)]
#[must_use = "a confirm that nobody awaits hides failures"]
pub struct Confirm(State);

#[derive(Debug)]
enum State {
    Ready(Option<Result<()>>),
    Waiting(oneshot::Receiver<Result<()>>),
}

impl Confirm {
    /// One that is already answered.
    pub fn ready(result: Result<()>) -> Self {
        Self(State::Ready(Some(result)))
    }

    /// One that the sender will answer. A sender that is dropped unanswered means a lost link.
    pub fn pair() -> (ConfirmSender, Self) {
        let (sender, receiver) = oneshot::channel();
        (ConfirmSender(sender), Self(State::Waiting(receiver)))
    }
}

impl Future for Confirm {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match &mut self.0 {
            State::Ready(result) => result.take().unwrap_or(Ok(())),
            State::Waiting(receiver) => ready!(Pin::new(receiver).poll(context))
                .unwrap_or_else(|_| Err(Error::lost("the link ended before the broker answered"))),
        };
        Poll::Ready(result)
    }
}

/// Answers a [`Confirm`].
#[derive(Debug)]
pub struct ConfirmSender(oneshot::Sender<Result<()>>);

impl ConfirmSender {
    /// Gives the answer; whether somebody still waits does not matter.
    pub fn answer(self, result: Result<()>) {
        let _nobody_waits = self.0.send(result);
    }
}
