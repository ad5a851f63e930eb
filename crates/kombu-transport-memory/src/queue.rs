//! One queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kombu_core::transport::Publish;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::arguments::{Arguments, Overflow};

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) publish: Arc<Publish>,
    /// Its place in the order of all messages.
    pub(crate) sequence: u64,
    /// How often it was delivered.
    pub(crate) deliveries: u32,
    pub(crate) expires: Option<Instant>,
}

/// Somebody who waits for messages of some queues.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    pub(crate) woken: AtomicBool,
    pub(crate) notify: Notify,
}

impl Waiter {
    fn wake(&self) -> bool {
        let first = !self.woken.swap(true, Ordering::AcqRel);
        if first {
            self.notify.notify_one();
        }
        first
    }
}

#[derive(Debug)]
pub(crate) struct MemoryQueue {
    pub(crate) name: Arc<str>,
    pub(crate) arguments: Arguments,
    /// Tells this queue from others that had its name.
    pub(crate) incarnation: u64,
    /// By priority, the highest first; each in the order of sequence.
    levels: Vec<(u8, VecDeque<Item>)>,
    ready: usize,
    bytes: u64,
    /// When it was last declared or asked for a message.
    pub(crate) last_used: Instant,
    waiters: VecDeque<Arc<Waiter>>,
}

impl MemoryQueue {
    pub(crate) fn new(name: Arc<str>, arguments: Arguments, incarnation: u64) -> Self {
        Self {
            name,
            arguments,
            incarnation,
            levels: Vec::new(),
            ready: 0,
            bytes: 0,
            last_used: Instant::now(),
            waiters: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ready
    }

    /// Whether a full queue is to refuse this message rather than drop its first.
    pub(crate) fn refuses(&self, publish: &Publish) -> bool {
        self.arguments.overflow != Overflow::DropHead
            && self.is_over(self.ready + 1, self.bytes + size(publish))
    }

    /// Adds a message at its place: at the end for a new one, at the head for one that comes back.
    /// True when it is the first of its level, so that its expiry is the next to watch.
    pub(crate) fn insert(&mut self, item: Item) -> bool {
        let priority = self.level_of(&item.publish);
        let at = match self.levels.iter().position(|(level, _)| *level <= priority) {
            Some(at) if self.levels.get(at).is_some_and(|(level, _)| *level == priority) => at,
            other => {
                let at = other.unwrap_or(self.levels.len());
                self.levels.insert(at, (priority, VecDeque::new()));
                at
            }
        };
        let Some((_, level)) = self.levels.get_mut(at) else { return false };
        self.ready += 1;
        self.bytes += size(&item.publish);
        match level.back() {
            Some(last) if last.sequence > item.sequence => {
                let place = level.partition_point(|have| have.sequence < item.sequence);
                level.insert(place, item);
                place == 0
            }
            other => {
                let first = other.is_none();
                level.push_back(item);
                first
            }
        }
    }

    /// Takes the next message.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let (_, level) = self.levels.iter_mut().find(|(_, level)| !level.is_empty())?;
        let item = level.pop_front()?;
        self.count_out(&item);
        Some(item)
    }

    /// Takes a message that is one too many: the oldest of the lowest priority.
    pub(crate) fn pop_surplus(&mut self) -> Option<Item> {
        if !self.is_over(self.ready, self.bytes) {
            return None;
        }
        let (_, level) = self.levels.iter_mut().rev().find(|(_, level)| !level.is_empty())?;
        let item = level.pop_front()?;
        self.count_out(&item);
        Some(item)
    }

    /// Takes a message from the head of its level whose time is over. Those behind others wait, as
    /// in RabbitMQ.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Item> {
        let over = |item: &Item| item.expires.is_some_and(|expires| expires <= now);
        let (_, level) =
            self.levels.iter_mut().find(|(_, level)| level.front().is_some_and(over))?;
        let item = level.pop_front()?;
        self.count_out(&item);
        Some(item)
    }

    /// When the next message expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.levels.iter().filter_map(|(_, level)| level.front()?.expires).min()
    }

    /// Drops all messages, and says how many.
    pub(crate) fn clear(&mut self) -> usize {
        self.levels.clear();
        self.bytes = 0;
        std::mem::take(&mut self.ready)
    }

    /// How many of the ready messages one claim may take, so that others who wait get their share.
    pub(crate) fn share(&self) -> usize {
        self.ready.div_ceil(self.waiters.len() + 1)
    }

    pub(crate) fn wait(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.push_back(Arc::clone(waiter));
    }

    /// Takes a waiter off. If it was woken, the next one is, in its place.
    pub(crate) fn leave(&mut self, waiter: &Arc<Waiter>) {
        self.waiters.retain(|have| !Arc::ptr_eq(have, waiter));
    }

    /// Wakes one who waits, if there is a message.
    pub(crate) fn wake_one(&self) {
        if self.ready > 0 {
            let _somebody = self.waiters.iter().any(|waiter| waiter.wake());
        }
    }

    pub(crate) fn wake_all(&self) {
        for waiter in &self.waiters {
            waiter.wake();
        }
    }

    fn level_of(&self, publish: &Publish) -> u8 {
        self.arguments.max_priority.map_or(0, |most| publish.message.properties.priority.min(most))
    }

    fn is_over(&self, count: usize, bytes: u64) -> bool {
        self.arguments.max_length.is_some_and(|most| count > most)
            || self.arguments.max_bytes.is_some_and(|most| bytes > most)
    }

    fn count_out(&mut self, item: &Item) {
        self.ready -= 1;
        self.bytes -= size(&item.publish);
    }
}

fn size(publish: &Publish) -> u64 {
    publish.message.body.len() as u64
}
