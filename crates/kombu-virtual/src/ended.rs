//! That something is over, and why.

use std::sync::Arc;

use kombu_core::Error;
use tokio::sync::watch;

/// The end of a channel or connection. The first reason stays.
#[derive(Debug)]
pub(crate) struct Ended(watch::Sender<Option<Arc<Error>>>);

impl Ended {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Ends it; false if it had ended before.
    pub(crate) fn end(&self, reason: Error) -> bool {
        self.0.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(Arc::new(reason));
            }
            first
        })
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// The reason, if it has ended.
    pub(crate) fn reason(&self) -> Option<Error> {
        self.0.borrow().as_ref().map(|reason| reason.duplicate())
    }

    /// Waits for the end. Cancel safe.
    pub(crate) async fn wait(&self) -> Error {
        let mut level = self.0.subscribe();
        let reason = level.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        reason.map_or_else(|| Error::closed("connection"), |reason| reason.duplicate())
    }
}
