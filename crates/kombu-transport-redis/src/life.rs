//! Whether a link lives, and why it does not.

use std::sync::{Arc, Once, OnceLock};

use kombu_core::{Error, Result};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Whether the link lives.
pub(crate) struct Life {
    end: watch::Sender<Option<Arc<Error>>>,
    hook: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Done once the hook has run, or is not to run any more.
    ended: Once,
    /// Ends the driver, and with it the socket.
    driving: AbortHandle,
}

impl Life {
    pub(crate) fn new(driving: AbortHandle) -> Self {
        Self { end: watch::Sender::new(None), hook: OnceLock::new(), ended: Once::new(), driving }
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

    /// Ends it; the first reason stays. When this returns, the hook has run, whoever ran it.
    pub(crate) fn end(&self, reason: Error) {
        self.ended.call_once(|| {
            if let Some(hook) = self.hook.get() {
                hook();
            }
            self.driving.abort();
            self.end.send_replace(Some(Arc::new(reason)));
        });
    }

    /// Ends it in good order: nobody is to be told.
    pub(crate) fn close(&self) {
        self.ended.call_once(|| {});
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nobody_hears_of_the_end_before_the_hook_has_run() {
        let life = Arc::new(Life::new(tokio::spawn(async {}).abort_handle()));
        let (began, beginning) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = std::sync::Mutex::new(released);
        life.on_end(move || {
            began.send(()).unwrap();
            let _dropped = released.lock().unwrap().recv();
        });
        let first = Arc::clone(&life);
        let first = thread::spawn(move || first.end(Error::lost("first")));
        beginning.recv().unwrap();
        let second = Arc::clone(&life);
        let second = thread::spawn(move || second.end(Error::lost("second")));
        assert!(life.check().is_ok());
        thread::sleep(Duration::from_millis(20));
        assert!(!second.is_finished(), "it returned while the hook ran");
        drop(release);
        first.join().unwrap();
        second.join().unwrap();
        assert!(life.over().await.to_string().contains("first"));
    }
}
