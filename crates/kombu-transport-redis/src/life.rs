//! Whether a link lives, and why it does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use kombu_core::{Error, Result};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Whether the link lives.
pub(crate) struct Life {
    end: watch::Sender<Option<Arc<Error>>>,
    hook: OnceLock<Box<dyn Fn() + Send + Sync>>,
    closed: AtomicBool,
    /// Ends the driver, and with it the socket.
    driving: AbortHandle,
}

impl Life {
    pub(crate) fn new(driving: AbortHandle) -> Self {
        Self {
            end: watch::Sender::new(None),
            hook: OnceLock::new(),
            closed: AtomicBool::new(false),
            driving,
        }
    }

    /// Sets what is done first at its end, before anyone hears of it; the first one stays.
    pub(crate) fn on_end(&self, hook: impl Fn() + Send + Sync + 'static) {
        let _only_once = self.hook.set(Box::new(hook));
    }

    /// Fails when the link is over: nothing more is to be sent on it.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.end.borrow() {
            Some(reason) => Err(reason.duplicate()),
            None => Ok(()),
        }
    }

    /// Ends it; the first reason stays.
    pub(crate) fn end(&self, reason: Error) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(hook) = self.hook.get() {
            hook();
        }
        self.driving.abort();
        self.end.send_replace(Some(Arc::new(reason)));
    }

    /// Ends it in good order: nobody is to be told.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) async fn over(&self) -> Error {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(reason) => reason
                .as_ref()
                .map_or_else(|| Error::lost("the link broke"), |error| error.duplicate()),
            Err(_) => Error::lost("the link broke"),
        }
    }
}
