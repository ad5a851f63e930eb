//! Claims that wait for a list to change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Those who wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Mutex<Vec<Arc<Waiter>>>,
}

#[derive(Debug)]
struct Waiter {
    lists: Vec<Bytes>,
    queues: Vec<Arc<str>>,
    changed: Notify,
}

/// A claim's place among those who wait; it leaves when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiters: &'a Waiters,
    waiter: Arc<Waiter>,
}

impl Waiters {
    /// Waits from now on for changes of these lists, or of what is kept here for these queues.
    pub(crate) fn enter(&self, lists: Vec<Bytes>, queues: Vec<Arc<str>>) -> Place<'_> {
        let waiter = Arc::new(Waiter { lists, queues, changed: Notify::new() });
        self.lock().push(Arc::clone(&waiter));
        Place { waiters: self, waiter }
    }

    /// Wakes those who wait for one of these lists.
    pub(crate) fn lists_changed(&self, lists: &[Bytes]) {
        for waiter in self.lock().iter() {
            if lists.iter().any(|list| waiter.lists.contains(list)) {
                waiter.changed.notify_one();
            }
        }
    }

    /// Wakes those who wait for a queue.
    pub(crate) fn queue_changed(&self, queue: &str) {
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
