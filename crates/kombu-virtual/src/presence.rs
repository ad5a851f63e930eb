//! Who uses the queues of a broker that lives in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

use kombu_core::{Error, ErrorKind, Result};

use crate::lock::lock;

/// The consumers and owners of queues, over all connections that share the value.
#[derive(Debug, Default)]
pub struct Presence {
    queues: Mutex<HashMap<Arc<str>, Users>>,
    ids: AtomicU64,
}

/// Identifies a connection at a [`Presence`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Member(u64);

/// Identifies a consumer at a [`Presence`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket(u64);

#[derive(Debug, Default)]
struct Users {
    owner: Option<Member>,
    consumers: Vec<User>,
    exclusive: bool,
    idle_since: Option<Instant>,
}

struct User {
    ticket: Ticket,
    /// Ends the consumer because its queue is gone.
    end: Box<dyn Fn(Error) + Send + Sync>,
}

impl Presence {
    /// One that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many consumers a queue has.
    #[must_use]
    pub fn consumers(&self, queue: &str) -> usize {
        lock(&self.queues).get(queue).map_or(0, |users| users.consumers.len())
    }

    /// Since when a queue has had no consumer, as far as it ever had one.
    #[must_use]
    pub fn idle_since(&self, queue: &str) -> Option<Instant> {
        lock(&self.queues).get(queue).and_then(|users| users.idle_since)
    }

    /// Ends the consumers of a queue that a store deleted by itself.
    pub fn queue_is_gone(&self, queue: &str) {
        let users = lock(&self.queues).remove(queue);
        for consumer in users.into_iter().flat_map(|users| users.consumers) {
            (consumer.end)(
                Error::new(ErrorKind::Cancelled, "the queue was deleted").with("queue", queue),
            );
        }
    }

    pub(crate) fn join(&self) -> Member {
        Member(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes a connection the owner of an exclusive queue.
    pub(crate) fn own(&self, queue: &str, member: Member) {
        lock(&self.queues).entry(queue.into()).or_default().owner = Some(member);
    }

    /// The exclusive queues of a connection.
    pub(crate) fn owned_by(&self, member: Member) -> Vec<Arc<str>> {
        lock(&self.queues)
            .iter()
            .filter(|(_, users)| users.owner == Some(member))
            .map(|(queue, _)| Arc::clone(queue))
            .collect()
    }

    /// Checks that no other connection owns the queue.
    pub(crate) fn check_access(&self, queue: &str, member: Member) -> Result<()> {
        match lock(&self.queues).get(queue).and_then(|users| users.owner) {
            Some(owner) if owner != member => Err(Error::new(
                ErrorKind::ResourceLocked,
                format!("queue {queue:?} belongs exclusively to another connection"),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn enter(
        &self,
        queue: &Arc<str>,
        exclusive: bool,
        end: impl Fn(Error) + Send + Sync + 'static,
    ) -> Result<Ticket> {
        let mut queues = lock(&self.queues);
        let users = queues.entry(Arc::clone(queue)).or_default();
        if users.exclusive || (exclusive && !users.consumers.is_empty()) {
            return Err(Error::new(
                ErrorKind::ResourceLocked,
                format!("queue {queue:?} has a consumer, and one wants to be the only one"),
            ));
        }
        let ticket = Ticket(self.ids.fetch_add(1, Ordering::Relaxed));
        users.exclusive = exclusive;
        users.idle_since = None;
        users.consumers.push(User { ticket, end: Box::new(end) });
        Ok(ticket)
    }

    /// Takes a consumer out; true if it was the queue's last.
    pub(crate) fn leave(&self, queue: &str, ticket: Ticket) -> bool {
        let mut queues = lock(&self.queues);
        let Some(users) = queues.get_mut(queue) else { return false };
        let before = users.consumers.len();
        users.consumers.retain(|user| user.ticket != ticket);
        if users.consumers.len() == before || !users.consumers.is_empty() {
            return false;
        }
        users.exclusive = false;
        users.idle_since = Some(Instant::now());
        true
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ticket.fmt(f)
    }
}
