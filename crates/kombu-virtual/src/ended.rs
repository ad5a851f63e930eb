//! That something is over, and why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kombu_core::Error;
use tokio::sync::watch;

/// The end of a channel or connection. The first reason stays.
#[derive(Debug)]
pub(crate) struct Ended {
    reason: watch::Sender<Option<Arc<Error>>>,
    /// For those who look often.
    ended: AtomicBool,
}

impl Ended {
    pub(crate) fn new() -> Self {
        Self { reason: watch::Sender::new(None), ended: AtomicBool::new(false) }
    }

    /// Ends it; false if it had ended before.
    pub(crate) fn end(&self, reason: Error) -> bool {
        self.reason.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(Arc::new(reason));
                self.ended.store(true, Ordering::Release);
            }
            first
        })
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The reason, if it has ended.
    pub(crate) fn reason(&self) -> Option<Error> {
        if !self.is_ended() {
            return None;
        }
        self.reason.borrow().as_ref().map(|reason| reason.duplicate())
    }

    /// Waits for the end. Cancel safe.
    pub(crate) async fn wait(&self) -> Error {
        let mut level = self.reason.subscribe();
        let reason = level.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        reason.map_or_else(|| Error::closed("connection"), |reason| reason.duplicate())
    }
}
