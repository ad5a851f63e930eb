//! Those who wait for something to come into a queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All who wait, of all connections of this process to one database.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Vec<Arc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    queues: Vec<Arc<str>>,
    changed: Notify,
}

/// A place among those who wait; it is left when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiters: &'a Waiters,
    waiter: Arc<Waiter>,
}

impl Waiters {
    /// Waits from now on for changes of these queues.
    pub(crate) fn enter(&self, queues: Vec<Arc<str>>) -> Place<'_> {
        let waiter = Arc::new(Waiter { queues, changed: Notify::new() });
        self.lock().push(Arc::clone(&waiter));
        Place { waiters: self, waiter }
    }

    /// Wakes those who wait for a queue.
    pub(crate) fn changed(&self, queue: &str) {
        for waiter in self.lock().iter() {
            if waiter.queues.iter().any(|own| &**own == queue) {
                waiter.changed.notify_one();
            }
        }
    }

    pub(crate) fn wake_all(&self) {
        for waiter in self.lock().iter() {
            waiter.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Waiter>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// Waits for a change. One that came since the last call counts.
    pub(crate) async fn changed(&self) {
        self.waiter.changed.notified().await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiters.lock().retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
    }
}
