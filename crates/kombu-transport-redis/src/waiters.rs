//! What claims wait for.

use std::sync::Arc;

use bytes::Bytes;

/// What a waiting claim is woken by.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A list of the server.
    List(Bytes),
    /// What is kept here for a queue.
    Queue(Arc<str>),
}

/// Those who wait.
pub(crate) type Waiters = kombu_virtual::Waiters<Awaited>;

/// Wakes those who wait for one of these lists.
pub(crate) fn lists_changed(waiters: &Waiters, lists: &[Bytes]) {
    waiters.wake(|awaited| matches!(awaited, Awaited::List(list) if lists.contains(list)));
}

/// Wakes those who wait for a queue.
pub(crate) fn queue_changed(waiters: &Waiters, queue: &str) {
    waiters.wake(|awaited| matches!(awaited, Awaited::Queue(own) if &**own == queue));
}
