//! The queues of a broker, behind its one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kombu_core::transport::Publish;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::dead_letter::{DeadLetters, Reason};
use kombu_virtual::{Claimed, Settlement, Want, expiry};
use tokio::time::Instant;

use crate::arguments::{Arguments, Overflow};
use crate::queue::{Item, MemoryQueue, Waiter};

/// Names a claimed message: the message itself, which the broker has no more.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    item: Item,
    incarnation: u64,
}

/// A message that a queue gave up, for its dead letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) letters: Arc<DeadLetters>,
    pub(crate) publish: Arc<Publish>,
    pub(crate) reason: Reason,
}

/// A message that is not due yet.
#[derive(Debug)]
struct Delayed {
    queues: Box<[Arc<str>]>,
    publish: Arc<Publish>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    queues: HashMap<Arc<str>, MemoryQueue>,
    /// Published for later: by when, then in order.
    delayed: BTreeMap<(Instant, u64), Delayed>,
    last_sequence: u64,
    last_incarnation: u64,
    /// Given up and not yet published again.
    dead: Vec<Dead>,
    /// Whether anything expires, and the clock should look when.
    pub(crate) clock_should_look: bool,
}

impl State {
    pub(crate) fn has(&self, queue: &str) -> bool {
        self.queues.contains_key(queue)
    }

    pub(crate) fn create(&mut self, name: &str, arguments: Arguments) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.last_used = Instant::now();
            return;
        }
        self.clock_should_look |= arguments.expires.is_some();
        self.last_incarnation += 1;
        let name: Arc<str> = name.into();
        let queue = MemoryQueue::new(Arc::clone(&name), arguments, self.last_incarnation);
        self.queues.insert(name, queue);
    }

    pub(crate) fn delete(&mut self, name: &str) -> usize {
        let Some(queue) = self.queues.remove(name) else { return 0 };
        queue.wake_all();
        queue.len()
    }

    pub(crate) fn purge(&mut self, name: &str) -> usize {
        self.deliver_due(Instant::now());
        self.queues.get_mut(name).map_or(0, MemoryQueue::clear)
    }

    pub(crate) fn size(&mut self, name: &str) -> usize {
        self.deliver_due(Instant::now());
        self.expire(name, Instant::now());
        self.queues.get(name).map_or(0, MemoryQueue::len)
    }

    /// Puts a message into queues, now or when it is due; those that are gone take none.
    pub(crate) fn put(&mut self, queues: &[Arc<str>], publish: &Arc<Publish>) -> Result<()> {
        let Some(due) = publish.due_later() else { return self.put_now(queues, publish) };
        if publish.message.properties.expiration.is_some() {
            expiry::of_message(&publish.message.properties)?;
        }
        self.last_sequence += 1;
        let delayed = Delayed { queues: queues.into(), publish: Arc::clone(publish) };
        self.delayed.insert((due, self.last_sequence), delayed);
        self.clock_should_look = true;
        Ok(())
    }

    /// Puts the messages that are due into their queues.
    fn deliver_due(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let Delayed { queues, publish } = first.remove();
            if let Err(error) = self.put_now(&queues, &publish) {
                tracing::warn!(%error, "a message that is due is lost");
            }
        }
    }

    fn put_now(&mut self, queues: &[Arc<str>], publish: &Arc<Publish>) -> Result<()> {
        let ttl = match publish.message.properties.expiration {
            Some(_) => expiry::of_message(&publish.message.properties)?,
            None => None,
        };
        let mut refused = None;
        for name in queues {
            let Some(queue) = self.queues.get_mut(name) else { continue };
            if queue.refuses(publish) {
                refused = Some(Arc::clone(&queue.name));
                if queue.arguments.overflow == Overflow::RejectPublishDeadLetter {
                    let letters = queue.arguments.letters.clone();
                    self.give_up(letters, Arc::clone(publish), Reason::MaxLength);
                }
                continue;
            }
            self.last_sequence += 1;
            let ttl = match (ttl, queue.arguments.message_ttl) {
                (Some(own), Some(all)) => Some(own.min(all)),
                (own, all) => own.or(all),
            };
            let item = Item {
                publish: Arc::clone(publish),
                sequence: self.last_sequence,
                deliveries: 0,
                expires: ttl.and_then(|ttl| Instant::now().checked_add(ttl)),
            };
            let expires = item.expires.is_some();
            self.clock_should_look |= queue.insert(item) && expires;
            queue.wake_one();
            while let Some(item) = queue.pop_surplus() {
                if let Some(letters) = queue.arguments.letters.clone() {
                    let publish = item.publish;
                    self.dead.push(Dead { letters, publish, reason: Reason::MaxLength });
                }
            }
        }
        match refused {
            None => Ok(()),
            Some(queue) => Err(Error::new(
                ErrorKind::Nacked,
                format!("queue {queue:?} is full and refuses messages"),
            )),
        }
    }

    /// Takes messages, a fair share from each queue.
    pub(crate) fn claim(&mut self, wants: &[Want]) -> Vec<Claimed<Receipt>> {
        self.deliver_due(Instant::now());
        let mut claimed = Vec::new();
        for want in wants {
            self.expire(&want.queue, Instant::now());
            let Some(queue) = self.queues.get_mut(&want.queue) else { continue };
            if queue.arguments.expires.is_some() {
                queue.last_used = Instant::now();
            }
            let count = want.limit.min(queue.share());
            claimed.reserve(count);
            for _ in 0..count {
                let Some(item) = queue.pop() else { break };
                claimed.push(claim(want, item, queue.incarnation));
            }
            queue.wake_one();
        }
        claimed
    }

    pub(crate) fn wait(&mut self, wants: &[Want], waiter: &Arc<Waiter>) {
        for want in wants {
            if let Some(queue) = self.queues.get_mut(&want.queue) {
                queue.wait(waiter);
            }
        }
    }

    /// Ends a wait. Somebody else is woken for what is there: this one may not come for it.
    pub(crate) fn leave(&mut self, wants: &[Want], waiter: &Arc<Waiter>) {
        for want in wants {
            if let Some(queue) = self.queues.get_mut(&want.queue) {
                queue.leave(waiter);
                queue.wake_one();
            }
        }
    }

    /// Puts a claimed message back where it was, unless its queue is gone.
    pub(crate) fn requeue(&mut self, settlement: Settlement<Receipt>) {
        let Receipt { mut item, incarnation } = settlement.receipt;
        let Some(queue) = self.queues.get_mut(&settlement.queue) else { return };
        if queue.incarnation != incarnation {
            return;
        }
        item.deliveries += u32::from(settlement.delivered);
        let expires = item.expires.is_some();
        self.clock_should_look |= queue.insert(item) && expires;
        queue.wake_one();
    }

    /// Gives up the messages of a queue whose time is over.
    fn expire(&mut self, name: &str, now: Instant) {
        while let Some(queue) = self.queues.get_mut(name)
            && let Some(item) = queue.pop_expired(now)
        {
            let letters = queue.arguments.letters.clone();
            self.give_up(letters, item.publish, Reason::Expired);
        }
    }

    /// Delivers what is due, and gives up all messages whose time is over. Says which queues were unused for too long, and
    /// when to look again. `idle_since` tells since when a queue has no consumer, `None` if it has
    /// one.
    pub(crate) fn look_at_clock(
        &mut self,
        idle_since: impl Fn(&MemoryQueue) -> Option<Instant>,
    ) -> (Vec<Arc<str>>, Option<Instant>) {
        let now = Instant::now();
        self.deliver_due(now);
        self.clock_should_look = false;
        let names: Vec<_> = self.queues.keys().cloned().collect();
        for name in &names {
            self.expire(name, now);
        }
        let mut unused = Vec::new();
        let mut next: Option<Instant> = None;
        let mut note = |when: Option<Instant>| next = next.into_iter().chain(when).min();
        note(self.delayed.keys().next().map(|(due, _)| *due));
        for queue in self.queues.values() {
            note(queue.next_expiry());
            let Some(expires) = queue.arguments.expires else { continue };
            let over = idle_since(queue).and_then(|since| since.checked_add(expires));
            if over.is_some_and(|over| over <= now) {
                unused.push(Arc::clone(&queue.name));
            } else {
                // A queue in use is looked at again when it could be unused at the earliest.
                note(over.or_else(|| now.checked_add(expires)));
            }
        }
        (unused, next)
    }

    /// The messages given up since the last call.
    pub(crate) fn take_dead(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.dead)
    }

    fn give_up(
        &mut self,
        letters: Option<Arc<DeadLetters>>,
        publish: Arc<Publish>,
        reason: Reason,
    ) {
        if let Some(letters) = letters {
            self.dead.push(Dead { letters, publish, reason });
        }
    }
}

fn claim(want: &Want, item: Item, incarnation: u64) -> Claimed<Receipt> {
    let deliveries = item.deliveries;
    let queue = Arc::clone(&want.queue);
    let mut claimed;
    if want.no_ack {
        let publish = Arc::unwrap_or_clone(item.publish);
        claimed = Claimed::new(queue, None, publish.message);
        claimed.exchange = publish.exchange;
        claimed.routing_key = publish.routing_key;
    } else {
        let publish = Arc::clone(&item.publish);
        let receipt = Receipt { item, incarnation };
        claimed = Claimed::new(queue, Some(receipt), publish.message.clone());
        claimed.exchange.clone_from(&publish.exchange);
        claimed.routing_key.clone_from(&publish.routing_key);
    }
    claimed.redelivered = deliveries > 0;
    claimed.delivery_count = Some(deliveries);
    claimed
}
