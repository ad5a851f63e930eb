//! Queues of fanout exchanges. Kombu keeps them nowhere: a message is written once for all, and
//! each consumer reads on from where it was. Here it waits in this process until it is taken.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use mongodb::bson::oid::ObjectId;

/// What this process reads of one database, for all its connections.
#[derive(Debug, Default)]
pub(crate) struct Fanouts {
    state: Mutex<State>,
    /// Held while a queue is bound.
    pub(crate) binding: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    sources: HashMap<String, Source>,
    queues: HashMap<Arc<str>, Weak<FanQueue>>,
    /// Rises with every look at the collection.
    epoch: u64,
}

/// An exchange whose messages are read.
#[derive(Debug, Default)]
struct Source {
    /// What was read, with the epoch in which it was last seen. Ids do not rise in the order of
    /// arrival, so the highest would not tell what is new.
    seen: HashMap<Id, u64>,
    queues: Vec<Weak<FanQueue>>,
}

/// The id of a message, whatever its type.
pub(crate) type Id = Box<[u8]>;

/// A message as the collection has it.
#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) id: Id,
    pub(crate) exchange: String,
    pub(crate) payload: Bytes,
}

impl Fanouts {
    /// Begins a look at the collection, and says in which epoch.
    pub(crate) fn look(&self) -> u64 {
        let mut state = self.lock();
        state.epoch += 1;
        state.epoch
    }

    /// Whether messages of this exchange are read already.
    pub(crate) fn reads(&self, exchange: &str) -> bool {
        let state = self.lock();
        state
            .sources
            .get(exchange)
            .is_some_and(|source| source.queues.iter().any(|queue| queue.strong_count() > 0))
    }

    /// Starts to read an exchange, behind what is there.
    pub(crate) fn start(&self, exchange: &str, epoch: u64, there: Vec<Id>) {
        let seen = there.into_iter().map(|id| (id, epoch)).collect();
        let source = Source { seen, queues: Vec::new() };
        self.lock().sources.insert(exchange.to_owned(), source);
    }

    /// Lets a queue have what comes to an exchange from now on.
    pub(crate) fn attach(&self, exchange: &str, queue: &str) -> Arc<FanQueue> {
        let mut state = self.lock();
        let known = state.queues.get(queue).and_then(Weak::upgrade);
        let own = known.unwrap_or_else(|| Arc::new(FanQueue::new(queue)));
        state.queues.insert(Arc::clone(&own.name), Arc::downgrade(&own));
        state.queues.retain(|_, queue| queue.strong_count() > 0);
        let source = state.sources.entry(exchange.to_owned()).or_default();
        source.queues.retain(|queue| queue.strong_count() > 0);
        if !source.queues.iter().any(|have| have.as_ptr() == Arc::as_ptr(&own)) {
            source.queues.push(Arc::downgrade(&own));
        }
        own
    }

    /// Takes a queue off an exchange.
    pub(crate) fn detach(&self, exchange: &str, queue: &str) {
        if let Some(source) = self.lock().sources.get_mut(exchange) {
            source.queues.retain(|have| have.upgrade().is_some_and(|have| &*have.name != queue));
        }
    }

    /// Drops an exchange.
    pub(crate) fn remove_exchange(&self, exchange: &str) {
        self.lock().sources.remove(exchange);
    }

    /// Drops a queue with what waits in it.
    pub(crate) fn remove_queue(&self, queue: &str) {
        let mut state = self.lock();
        state.queues.remove(queue);
        for source in state.sources.values_mut() {
            source.queues.retain(|have| have.upgrade().is_some_and(|have| &*have.name != queue));
        }
    }

    /// The exchanges that one of these queues is attached to.
    pub(crate) fn exchanges_of(&self, queues: &[Arc<FanQueue>]) -> Vec<String> {
        let state = self.lock();
        let is_of = |source: &Source| {
            source
                .queues
                .iter()
                .any(|have| queues.iter().any(|own| have.as_ptr() == Arc::as_ptr(own)))
        };
        let mut names: Vec<_> = state
            .sources
            .iter()
            .filter(|(_, source)| is_of(source))
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_unstable();
        names
    }

    /// Hands out what was read, and says which queues have something new. With `all_of`, these
    /// were all messages of those exchanges at the time of the look.
    pub(crate) fn deliver(
        &self,
        read: Vec<Broadcast>,
        epoch: u64,
        all_of: &[String],
    ) -> Vec<Arc<str>> {
        let mut state = self.lock();
        let now = state.epoch;
        let mut reached: Vec<Arc<str>> = Vec::new();
        for message in read {
            let Some(source) = state.sources.get_mut(&message.exchange) else { continue };
            if let Some(seen) = source.seen.get_mut(&message.id) {
                *seen = (*seen).max(epoch);
                continue;
            }
            source.seen.insert(message.id, now);
            for queue in source.queues.iter().filter_map(Weak::upgrade) {
                queue.push(message.payload.clone());
                if !reached.contains(&queue.name) {
                    reached.push(Arc::clone(&queue.name));
                }
            }
        }
        for exchange in all_of {
            if let Some(source) = state.sources.get_mut(exchange) {
                // What the server has dropped by now does not come again.
                source.seen.retain(|_, seen| *seen >= epoch);
            }
        }
        reached
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue of a fanout exchange, in this process.
#[derive(Debug)]
pub(crate) struct FanQueue {
    name: Arc<str>,
    state: Mutex<Letters>,
}

#[derive(Debug, Default)]
struct Letters {
    next: u64,
    ready: BTreeMap<u64, Letter>,
    /// With the connection that holds each.
    held: BTreeMap<u64, (ObjectId, Letter)>,
    bytes: usize,
    dropped: u64,
}

/// A message in such a queue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Letter {
    pub(crate) payload: Bytes,
    /// How often it was delivered.
    pub(crate) deliveries: u32,
}

impl FanQueue {
    fn new(name: &str) -> Self {
        Self { name: name.into(), state: Mutex::default() }
    }

    fn push(&self, payload: Bytes) {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.bytes += payload.len();
        state.ready.insert(number, Letter { payload, deliveries: 0 });
        while state.ready.len() > MOST_MESSAGES || state.bytes > MOST_BYTES {
            let Some((_, oldest)) = state.ready.pop_first() else { break };
            state.bytes -= oldest.payload.len();
            state.dropped += 1;
            if state.dropped.is_power_of_two() {
                tracing::warn!(
                    queue = &*self.name,
                    dropped = state.dropped,
                    "a queue of a fanout exchange is full; its oldest messages are dropped"
                );
            }
        }
    }

    /// Takes messages from the head; this connection holds them.
    pub(crate) fn take(&self, most: usize, owner: ObjectId) -> Vec<(u64, Letter)> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((number, letter)) = state.ready.pop_first()
        {
            state.bytes -= letter.payload.len();
            state.held.insert(number, (owner, letter.clone()));
            taken.push((number, letter));
        }
        taken
    }

    /// Forgets a message that was taken.
    pub(crate) fn forget(&self, number: u64) {
        self.lock().held.remove(&number);
    }

    /// Puts a message that was taken back to its place.
    pub(crate) fn put_back(&self, number: u64, delivered: bool) {
        let mut state = self.lock();
        if let Some((_, mut letter)) = state.held.remove(&number) {
            letter.deliveries += u32::from(delivered);
            state.bytes += letter.payload.len();
            state.ready.insert(number, letter);
        }
    }

    /// Puts back all that a connection holds.
    pub(crate) fn put_back_of(&self, owner: ObjectId) {
        let numbers: Vec<_> = {
            let state = self.lock();
            let own = state.held.iter().filter(|(_, (holder, _))| *holder == owner);
            own.map(|(number, _)| *number).collect()
        };
        for number in numbers {
            self.put_back(number, true);
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.lock().ready.len() as u64
    }

    /// Drops what waits, and says how many.
    pub(crate) fn clear(&self) -> u64 {
        let mut state = self.lock();
        state.bytes = 0;
        std::mem::take(&mut state.ready).len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Letters> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most messages that wait in this process for one queue.
const MOST_MESSAGES: usize = 100_000;

/// The most bytes that wait in this process for one queue.
const MOST_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u8, exchange: &str) -> Broadcast {
        let payload = Bytes::from(vec![id]);
        Broadcast { id: Box::new([id]), exchange: exchange.to_owned(), payload }
    }

    fn bodies(queue: &FanQueue) -> Vec<u8> {
        let taken = queue.take(100, ObjectId::new());
        taken.iter().map(|(_, letter)| letter.payload[0]).collect()
    }

    #[test]
    fn each_queue_has_what_came_since_it_was_bound() {
        let fanouts = Fanouts::default();
        assert!(!fanouts.reads("e"));
        fanouts.start("e", fanouts.look(), vec![Box::new([1])]);
        let one = fanouts.attach("e", "one");
        assert!(fanouts.reads("e"));
        let all = ["e".to_owned()];
        let epoch = fanouts.look();
        let reached = fanouts.deliver(vec![message(1, "e"), message(2, "e")], epoch, &all);
        assert_eq!(reached, [Arc::from("one")]);
        let two = fanouts.attach("e", "two");
        fanouts.deliver(vec![message(0, "e"), message(2, "e")], fanouts.look(), &all);
        assert_eq!(bodies(&one), [2, 0]);
        assert_eq!(bodies(&two), [0], "a lower id is new as well");
    }

    #[test]
    fn what_was_read_meanwhile_does_not_come_twice() {
        let fanouts = Fanouts::default();
        fanouts.start("e", fanouts.look(), Vec::new());
        let queue = fanouts.attach("e", "q");
        let earlier = fanouts.look();
        let later = fanouts.look();
        fanouts.deliver(vec![message(1, "e")], later, &[]);
        // A look from before it was there ends after it came.
        fanouts.deliver(Vec::new(), earlier, &["e".to_owned()]);
        fanouts.deliver(vec![message(1, "e")], fanouts.look(), &["e".to_owned()]);
        assert_eq!(bodies(&queue), [1]);
    }

    #[test]
    fn a_queue_is_one_to_all_who_bind_it_and_goes_with_the_last() {
        let fanouts = Fanouts::default();
        let first = fanouts.attach("e", "q");
        let second = fanouts.attach("e", "q");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(fanouts.exchanges_of(&[Arc::clone(&first)]), ["e"]);
        drop((first, second));
        assert!(!fanouts.reads("e"));
    }

    #[test]
    fn what_goes_back_comes_in_its_old_order() {
        let queue = FanQueue::new("q");
        for byte in 0..4 {
            queue.push(Bytes::from(vec![byte]));
        }
        let (mine, other) = (ObjectId::new(), ObjectId::new());
        let taken = queue.take(2, mine);
        let held = queue.take(1, other);
        queue.put_back(taken[1].0, false);
        queue.put_back_of(mine);
        assert_eq!(queue.len(), 3);
        let again = queue.take(3, mine);
        let seen: Vec<_> =
            again.iter().map(|(_, letter)| (letter.payload[0], letter.deliveries)).collect();
        assert_eq!(seen, [(0, 1), (1, 0), (3, 0)]);
        queue.forget(held[0].0);
        queue.put_back(held[0].0, true);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn a_full_queue_drops_its_oldest() {
        let queue = FanQueue::new("q");
        let big = Bytes::from(vec![b'x'; MOST_BYTES / 2]);
        queue.push(Bytes::from_static(b"old"));
        queue.push(big.clone());
        queue.push(big);
        assert_eq!(queue.len(), 2);
    }
}
