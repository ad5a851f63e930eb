//! Queues of fanout exchanges. Kombu keeps them nowhere: a message is published to a channel, and
//! each subscriber has it or has it not. Here it waits in this process until it is taken.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// What this connection has subscribed to, and what came.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The queues of each exchange.
    exchanges: HashMap<String, Vec<Arc<str>>>,
    buffers: HashMap<Arc<str>, Buffer>,
}

#[derive(Debug, Default)]
struct Buffer {
    messages: VecDeque<Bytes>,
    bytes: usize,
    dropped: u64,
}

impl Fanout {
    /// Adds a queue to an exchange. True if it is the exchange's first, so that it must be
    /// subscribed.
    pub(crate) fn add(&self, exchange: &str, queue: &str) -> bool {
        let mut state = self.lock();
        state.buffers.entry(queue.into()).or_default();
        let queues = state.exchanges.entry(exchange.to_owned()).or_default();
        let first = queues.is_empty();
        if !queues.iter().any(|have| &**have == queue) {
            queues.push(queue.into());
        }
        first
    }

    /// Takes a queue off an exchange, or off all. Returns the exchanges that have none left.
    pub(crate) fn remove(&self, exchange: Option<&str>, queue: &str) -> Vec<String> {
        let mut state = self.lock();
        let mut left = Vec::new();
        for (name, queues) in &mut state.exchanges {
            if exchange.is_none_or(|only| only == name)
                && queues.iter().any(|have| &**have == queue)
            {
                queues.retain(|have| &**have != queue);
                if queues.is_empty() {
                    left.push(name.clone());
                }
            }
        }
        for name in &left {
            state.exchanges.remove(name);
        }
        let used = state.exchanges.values().flatten().any(|have| &**have == queue);
        if !used && exchange.is_none() {
            state.buffers.remove(queue);
        }
        left
    }

    /// Drops an exchange. True if it was subscribed.
    pub(crate) fn remove_exchange(&self, exchange: &str) -> bool {
        self.lock().exchanges.remove(exchange).is_some()
    }

    /// Keeps a message for all queues of an exchange, and says which.
    pub(crate) fn deliver(&self, exchange: &str, message: &Bytes) -> Vec<Arc<str>> {
        let mut state = self.lock();
        let queues = state.exchanges.get(exchange).cloned().unwrap_or_default();
        for queue in &queues {
            if let Some(buffer) = state.buffers.get_mut(queue) {
                buffer.push(queue, message.clone());
            }
        }
        queues
    }

    /// Takes messages from the head.
    pub(crate) fn take(&self, queue: &str, most: usize) -> Vec<Bytes> {
        let mut state = self.lock();
        let Some(buffer) = state.buffers.get_mut(queue) else { return Vec::new() };
        let count = most.min(buffer.messages.len());
        let taken: Vec<_> = buffer.messages.drain(..count).collect();
        buffer.bytes -= taken.iter().map(Bytes::len).sum::<usize>();
        taken
    }

    /// Puts a message back to the head. False if the queue is gone, and with it the message.
    pub(crate) fn put_back(&self, queue: &str, message: Bytes) -> bool {
        let mut state = self.lock();
        let Some(buffer) = state.buffers.get_mut(queue) else { return false };
        buffer.bytes += message.len();
        buffer.messages.push_front(message);
        true
    }

    pub(crate) fn len(&self, queue: &str) -> u64 {
        self.lock().buffers.get(queue).map_or(0, |buffer| buffer.messages.len() as u64)
    }

    /// Drops what waits in a queue, and says how many.
    pub(crate) fn clear(&self, queue: &str) -> u64 {
        self.take(queue, usize::MAX).len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    fn push(&mut self, queue: &str, message: Bytes) {
        self.bytes += message.len();
        self.messages.push_back(message);
        while self.messages.len() > MOST_MESSAGES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.len();
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                tracing::warn!(
                    queue,
                    dropped = self.dropped,
                    "a queue of a fanout exchange is full; its oldest messages are dropped"
                );
            }
        }
    }
}

/// The most messages that wait in this process for one queue.
const MOST_MESSAGES: usize = 100_000;

/// The most bytes that wait in this process for one queue.
const MOST_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_has_its_copy() {
        let fanout = Fanout::default();
        assert!(fanout.add("e", "a"));
        assert!(!fanout.add("e", "b"));
        assert_eq!(fanout.deliver("e", &Bytes::from_static(b"x")).len(), 2);
        assert_eq!(fanout.take("a", 5), ["x"]);
        assert_eq!(fanout.len("b"), 1);
        assert!(fanout.remove(Some("e"), "a").is_empty());
        assert_eq!(fanout.remove(None, "b"), ["e"]);
        assert!(!fanout.put_back("b", Bytes::new()));
    }

    #[test]
    fn a_full_buffer_drops_its_oldest() {
        let fanout = Fanout::default();
        fanout.add("e", "q");
        let big = Bytes::from(vec![b'x'; MOST_BYTES / 2]);
        fanout.deliver("e", &Bytes::from_static(b"old"));
        fanout.deliver("e", &big);
        fanout.deliver("e", &big);
        assert_eq!(fanout.len("q"), 2);
        assert_eq!(fanout.take("q", 1), [big]);
    }
}
