//! What the connections of one transport value share: what lost links leave to the next ones, and
//! what they tell each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::lock::lock;

/// A message that was taken out of its queue.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) queue: Arc<str>,
    /// The envelope.
    pub(crate) data: Bytes,
}

/// A message that goes back to its queue.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) number: u64,
    pub(crate) held: Held,
}

/// What the connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// By broker, in order.
    left: Mutex<HashMap<Arc<str>, Vec<Left>>>,
    next: AtomicU64,
    /// Held while messages go back: one connection does it.
    pub(crate) returning: tokio::sync::Mutex<()>,
    /// Changes when a message was stored anywhere.
    pub(crate) arrivals: watch::Sender<()>,
    /// How often exchanges or bindings were changed.
    pub(crate) changes: AtomicU64,
    tasks: Mutex<JoinSet<()>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            left: Mutex::default(),
            next: AtomicU64::default(),
            returning: tokio::sync::Mutex::default(),
            arrivals: watch::Sender::new(()),
            changes: AtomicU64::default(),
            tasks: Mutex::default(),
        }
    }
}

impl Shared {
    /// Keeps messages of a broker, which go back with the next connection to it.
    pub(crate) fn leave(&self, address: &Arc<str>, messages: impl IntoIterator<Item = Held>) {
        let mut left = lock(&self.left);
        let of_broker = left.entry(Arc::clone(address)).or_default();
        of_broker.extend(messages.into_iter().map(|held| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            Left { number, held }
        }));
        if of_broker.is_empty() {
            left.remove(address);
        }
    }

    /// The messages that are to go back to a broker.
    pub(crate) fn left(&self, address: &str) -> Vec<Left> {
        lock(&self.left).get(address).cloned().unwrap_or_default()
    }

    /// Forgets a message that went back.
    pub(crate) fn returned(&self, address: &str, number: u64) {
        let mut left = lock(&self.left);
        if let Some(of_broker) = left.get_mut(address) {
            of_broker.retain(|left| left.number != number);
            if of_broker.is_empty() {
                left.remove(address);
            }
        }
    }

    /// Runs something, at most for as long as the transport value lives: what a lost link still
    /// reads outlives its connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_until_they_went_back_to_their_broker() {
        let shared = Shared::default();
        let (here, there): (Arc<str>, Arc<str>) = ("h:1/a".into(), "h:2/a".into());
        let held = |data: &'static str| Held { queue: "q".into(), data: data.into() };
        shared.leave(&here, [held("1"), held("2")]);
        shared.leave(&there, []);
        shared.leave(&here, [held("3")]);
        assert!(shared.left(&there).is_empty());
        let left = shared.left(&here);
        let data: Vec<_> = left.iter().map(|left| left.held.data.clone()).collect();
        assert_eq!(data, ["1", "2", "3"]);
        for Left { number, .. } in left {
            assert!(!shared.left(&here).is_empty());
            shared.returned(&here, number);
        }
        assert!(shared.left(&here).is_empty());
    }
}
