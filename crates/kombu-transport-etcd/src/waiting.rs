//! Which messages of a queue wait, by its index: nothing but what the servers told.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::layout::{Entry, Place};

/// The messages of a queue.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    messages: HashMap<String, Message>,
    claimed: HashSet<String>,
    /// Messages without a claim, but for those that are being taken.
    free: BTreeSet<Place>,
    /// All changes up to this revision are in here.
    pub(crate) revision: i64,
}

#[derive(Clone, Debug)]
struct Message {
    place: Place,
    bytes: usize,
}

/// A message that is to be taken.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) place: Place,
    pub(crate) bytes: usize,
}

impl Waiting {
    /// A key is there, or was written.
    pub(crate) fn put(&mut self, entry: Entry, rank: u8, id: &str, revision: i64, value: &[u8]) {
        match entry {
            Entry::Message => {
                let place = Place { rank, revision, id: id.to_owned() };
                let bytes = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                let message = Message { place: place.clone(), bytes: bytes.unwrap_or(0) };
                let known = self.messages.insert(id.to_owned(), message);
                // A claim touches the message; that is no arrival.
                if known.is_none() && !self.claimed.contains(id) {
                    self.free.insert(place);
                }
            }
            Entry::Claim => {
                self.claimed.insert(id.to_owned());
                if let Some(message) = self.messages.get(id) {
                    self.free.remove(&message.place);
                }
            }
        }
    }

    /// A key is gone.
    pub(crate) fn delete(&mut self, entry: Entry, id: &str) {
        match entry {
            Entry::Message => {
                if let Some(message) = self.messages.remove(id) {
                    self.free.remove(&message.place);
                }
            }
            Entry::Claim => {
                self.claimed.remove(id);
                if let Some(message) = self.messages.get(id) {
                    self.free.insert(message.place.clone());
                }
            }
        }
    }

    /// Takes the first messages out, up to so many and so many bytes, but at least one.
    pub(crate) fn pop(&mut self, count: usize, most_bytes: usize) -> Vec<Candidate> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < count && (bytes == 0 || bytes < most_bytes) {
            let Some(place) = self.free.pop_first() else { break };
            let size = self.messages.get(&place.id).map_or(0, |message| message.bytes);
            bytes += size;
            taken.push(Candidate { place, bytes: size });
        }
        taken
    }

    /// Puts back what was not taken after all, and is still there.
    pub(crate) fn put_back(&mut self, candidates: impl IntoIterator<Item = Candidate>) {
        for candidate in candidates {
            let id = &candidate.place.id;
            if self.messages.contains_key(id) && !self.claimed.contains(id) {
                self.free.insert(candidate.place);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(waiting: &mut Waiting, count: usize) -> Vec<String> {
        waiting.pop(count, usize::MAX).into_iter().map(|one| one.place.id).collect()
    }

    #[test]
    fn messages_come_by_priority_and_then_by_age() {
        let mut waiting = Waiting::default();
        for (rank, revision, id) in [(9, 1, "a"), (9, 2, "b"), (0, 3, "urgent")] {
            waiting.put(Entry::Message, rank, id, revision, b"10");
        }
        assert_eq!(ids(&mut waiting, 2), ["urgent", "a"]);
        assert_eq!(ids(&mut waiting, 2), ["b"]);
    }

    #[test]
    fn a_claim_hides_a_message_until_it_goes() {
        let mut waiting = Waiting::default();
        // The claim first, as keys are listed.
        waiting.put(Entry::Claim, 9, "a", 5, b"");
        waiting.put(Entry::Message, 9, "a", 1, b"10");
        waiting.put(Entry::Message, 9, "b", 2, b"10");
        assert_eq!(ids(&mut waiting, 9), ["b"]);
        waiting.put(Entry::Claim, 9, "b", 6, b"");
        waiting.put(Entry::Message, 9, "b", 2, b"10");
        assert!(waiting.is_empty(), "the touch of a claim is no arrival");
        waiting.delete(Entry::Claim, "b");
        waiting.delete(Entry::Claim, "a");
        assert_eq!(ids(&mut waiting, 9), ["a", "b"], "each is back in its place");
        waiting.delete(Entry::Message, "a");
        waiting.delete(Entry::Claim, "a");
        assert!(waiting.is_empty(), "an acknowledged message does not come back");
    }

    #[test]
    fn a_claim_takes_so_many_bytes() {
        let mut waiting = Waiting::default();
        for (revision, id) in [(1, "a"), (2, "b"), (3, "c")] {
            waiting.put(Entry::Message, 9, id, revision, b"60");
        }
        assert_eq!(waiting.pop(9, 100).len(), 2);
        assert_eq!(waiting.pop(9, 0).len(), 1, "at least one");
    }

    #[test]
    fn what_is_gone_is_not_put_back() {
        let mut waiting = Waiting::default();
        for (revision, id) in [(1, "a"), (2, "b"), (3, "c")] {
            waiting.put(Entry::Message, 9, id, revision, b"1");
        }
        let all = waiting.pop(9, 100);
        waiting.delete(Entry::Message, "a");
        waiting.put(Entry::Claim, 9, "b", 4, b"");
        waiting.put_back(all);
        assert_eq!(ids(&mut waiting, 9), ["c"]);
    }
}
