//! A level that says "stop waiting".

use std::future::Future;

use tokio::sync::watch;

/// Fires when a store should end its waiting early. It stays fired until the layer resets it.
#[derive(Debug)]
pub struct Interrupt(watch::Sender<bool>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Interrupt {
    /// Makes one that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Fires.
    pub fn fire(&self) {
        self.0.send_replace(true);
    }

    /// Makes it ready to fire again.
    pub fn reset(&self) {
        self.0.send_replace(false);
    }

    /// Whether it fired.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it fires.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub fn fired(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut level = self.0.subscribe();
        async move {
            let _sender_gone = level.wait_for(|fired| *fired).await;
        }
    }
}
