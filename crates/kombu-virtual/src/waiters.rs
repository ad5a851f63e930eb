//! Claims that wait until what they want may be there.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::lock::lock;

/// Those who wait, each for what its keys name: queues, or whatever a store hears of.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use kombu_virtual::Waiters;
/// let waiters = Waiters::default();
/// // Before the first look, so that no change is missed.
/// let place = waiters.enter(vec!["video"]);
/// waiters.wake(|queue| *queue == "video");
/// place.changed().await;
/// # });
/// ```
#[derive(Debug)]
pub struct Waiters<K> {
    waiting: Mutex<Vec<Arc<Waiter<K>>>>,
}

#[derive(Debug)]
struct Waiter<K> {
    keys: Vec<K>,
    changed: Notify,
}

impl<K> Waiters<K> {
    /// Waits from now on for changes of what the keys name.
    pub fn enter(&self, keys: Vec<K>) -> Place<'_, K> {
        let waiter = Arc::new(Waiter { keys, changed: Notify::new() });
        lock(&self.waiting).push(Arc::clone(&waiter));
        Place { waiters: self, waiter }
    }

    /// Wakes those who have a key that changed.
    pub fn wake(&self, changed: impl Fn(&K) -> bool) {
        for waiter in lock(&self.waiting).iter() {
            if waiter.keys.iter().any(&changed) {
                waiter.changed.notify_one();
            }
        }
    }

    /// Wakes all.
    pub fn wake_all(&self) {
        for waiter in lock(&self.waiting).iter() {
            waiter.changed.notify_one();
        }
    }
}

impl Waiters<Arc<str>> {
    /// Wakes those who wait for a queue.
    pub fn wake_queue(&self, queue: &str) {
        self.wake(|own| &**own == queue);
    }
}

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Self { waiting: Mutex::default() }
    }
}

/// A place among [`Waiters`]; it is left when dropped.
#[derive(Debug)]
pub struct Place<'a, K> {
    waiters: &'a Waiters<K>,
    waiter: Arc<Waiter<K>>,
}

impl<K> Place<'_, K> {
    /// Waits for a change. One that came since the last call counts.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn changed(&self) {
        self.waiter.changed.notified().await;
    }
}

impl<K> Drop for Place<'_, K> {
    fn drop(&mut self) {
        lock(&self.waiters.waiting).retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn those_who_wait_for_it_are_woken_once_and_nobody_else() {
        let waiters = Waiters::default();
        let (one, other) = (waiters.enter(vec![1, 2]), waiters.enter(vec![3]));
        waiters.wake(|key| *key == 2);
        waiters.wake(|key| *key == 1);
        assert!(one.changed().now_or_never().is_some(), "it was woken before it waited");
        assert!(one.changed().now_or_never().is_none());
        assert!(other.changed().now_or_never().is_none());
        waiters.wake_all();
        assert!(one.changed().now_or_never().is_some());
        assert!(other.changed().now_or_never().is_some());
        drop(one);
        assert_eq!(lock(&waiters.waiting).len(), 1);
    }
}
