//! How something ended: once, for a reason, for all who wait.

use std::sync::Arc;

use kombu_core::Error;
use tokio::sync::watch;

/// Undecided until the first reason is given.
#[derive(Debug)]
pub(crate) struct Fate(watch::Sender<Option<Arc<Error>>>);

impl Fate {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Gives the reason; false if there was one before, which then stays.
    pub(crate) fn decide(&self, reason: Error) -> bool {
        self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(Arc::new(reason));
            }
            first
        })
    }

    /// The reason, if there is one.
    pub(crate) fn reason(&self) -> Option<Error> {
        self.0.borrow().as_ref().map(|reason| reason.duplicate())
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for the reason. Cancel safe.
    pub(crate) async fn decided(&self) -> Error {
        let mut receiver = self.0.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(reason) => reason.as_ref().map(|reason| reason.duplicate()),
            Err(_sender_is_self) => None,
        }
        .unwrap_or_else(|| Error::closed("connection"))
    }
}
