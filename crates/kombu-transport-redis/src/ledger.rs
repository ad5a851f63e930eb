//! What a connection holds: the messages that it took and nobody settled yet.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// A message that was taken and recorded.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its place in the order in which the server gave messages: the score of its first claim.
    pub(crate) number: u64,
    pub(crate) queue: Arc<str>,
    /// The list that it came from.
    pub(crate) step: usize,
    /// The field that it is recorded under.
    pub(crate) tag: Bytes,
    score: AtomicU64,
    /// The score that it will have when a renewal under way has arrived.
    next_score: AtomicU64,
    /// Whether its queue was deleted, and its record with it.
    gone: AtomicBool,
}

impl Held {
    /// The score by which the record is this connection's.
    pub(crate) fn score(&self) -> Score {
        Score(self.score.load(Ordering::Acquire))
    }

    /// The score that it may have as well: a renewal's that may or may not have arrived.
    pub(crate) fn next_score(&self) -> Option<Score> {
        Some(Score(self.next_score.load(Ordering::Acquire))).filter(|score| score.0 > 0)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn renewing(&self, score: Score) {
        self.next_score.store(score.0, Ordering::Release);
    }

    pub(crate) fn renewed(&self, arrived: bool) {
        let next = self.next_score.swap(0, Ordering::AcqRel);
        if arrived {
            self.score.store(next, Ordering::Release);
        }
    }
}

/// A time of the server in microseconds, exactly as it is stored.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Score(pub(crate) u64);

impl Score {
    /// Reads seconds with six digits behind the point.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (seconds, micros) = text.split_once('.')?;
        let seconds: u64 = seconds.parse().ok()?;
        let micros: u64 = micros.parse().ok().filter(|_| micros.len() == 6)?;
        Some(Self(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The messages that a connection holds, and the logs of its claims.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<u64, Arc<Held>>,
    /// By number: whether a claim uses the log now, and the queue whose slot it is in.
    logs: Vec<(bool, Arc<str>)>,
    /// What went back last, with its place in the order of taking.
    returned: VecDeque<(Bytes, u64)>,
}

impl Ledger {
    /// Enters messages of one claim, in their order. Their scores rise from the first one's.
    pub(crate) fn enter(
        &self,
        start: Score,
        taken: impl IntoIterator<Item = (Arc<str>, usize, Bytes)>,
    ) -> Vec<Arc<Held>> {
        let mut state = self.lock();
        taken
            .into_iter()
            .zip(start.0..)
            .map(|((queue, step, tag), score)| {
                // One that went back was there before others that were taken meanwhile.
                let earlier = state.returned.iter().rposition(|(known, _)| *known == tag);
                let earlier = earlier.and_then(|at| state.returned.remove(at));
                let mut number = earlier.map_or(score, |(_, number)| number);
                while state.held.get(&number).is_some_and(|held| held.tag != tag) {
                    number += 1;
                }
                let score = AtomicU64::new(score);
                let next_score = AtomicU64::new(0);
                let gone = AtomicBool::new(false);
                let held = Arc::new(Held { number, queue, step, tag, score, next_score, gone });
                state.held.insert(number, Arc::clone(&held));
                held
            })
            .collect()
    }

    /// Strikes messages that are settled.
    pub(crate) fn strike<'a>(&self, settled: impl IntoIterator<Item = &'a Arc<Held>>) {
        let mut state = self.lock();
        for held in settled {
            // It may have come again meanwhile.
            if state.held.get(&held.number).is_some_and(|have| Arc::ptr_eq(have, held)) {
                state.held.remove(&held.number);
            }
        }
    }

    /// Strikes all messages of a queue, because it is deleted.
    pub(crate) fn strike_queue(&self, queue: &str) -> Vec<Arc<Held>> {
        let mut state = self.lock();
        let (gone, kept) = std::mem::take(&mut state.held)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, held)| &*held.queue == queue);
        state.held = kept;
        let gone: Vec<_> = gone.into_values().collect();
        for held in &gone {
            held.gone.store(true, Ordering::Release);
        }
        gone
    }

    /// What went back last.
    pub(crate) fn returned(&self) -> Vec<(Bytes, u64)> {
        self.lock().returned.iter().cloned().collect()
    }

    pub(crate) fn note_returned(&self, returned: impl IntoIterator<Item = (Bytes, u64)>) {
        let mut state = self.lock();
        state.returned.extend(returned);
        let surplus = state.returned.len().saturating_sub(MOST_RETURNED);
        state.returned.drain(..surplus);
    }

    /// All that is held, in the order of taking.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        self.lock().held.values().cloned().collect()
    }

    /// A log for a claim, that no other claim uses meanwhile. On a cluster a log is in the slot of
    /// its queue.
    pub(crate) fn begin_claim(&self, queue: &Arc<str>, any_queue: bool) -> usize {
        let mut state = self.lock();
        let free = state.logs.iter().position(|(used, of)| !used && (any_queue || of == queue));
        match free {
            Some(at) => {
                if let Some(log) = state.logs.get_mut(at) {
                    log.0 = true;
                }
                at
            }
            None => {
                state.logs.push((true, Arc::clone(queue)));
                state.logs.len() - 1
            }
        }
    }

    pub(crate) fn end_claim(&self, log: usize) {
        if let Some(log) = self.lock().logs.get_mut(log) {
            log.0 = false;
        }
    }

    /// The logs with the queues whose slots they are in.
    pub(crate) fn logs(&self) -> Vec<Arc<str>> {
        self.lock().logs.iter().map(|(_, queue)| Arc::clone(queue)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list, and what it gave, of one part of a claim: as the log has it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Logged {
    pub(crate) list: Bytes,
    pub(crate) tags: Vec<Bytes>,
}

/// Reads a log: the first score, then for each part the list, the number of tags, and the tags, each after
/// its length and a colon.
pub(crate) fn read_log(log: &Bytes) -> Option<(Score, Vec<Logged>)> {
    let mut at = 0;
    let mut next = || {
        let rest = log.get(at..)?;
        let colon = rest.iter().position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(rest.get(..colon)?).ok()?.parse().ok()?;
        let start = at + colon + 1;
        let end = start.checked_add(length).filter(|end| *end <= log.len())?;
        at = end;
        Some(log.slice(start..end))
    };
    let start = Score::parse(std::str::from_utf8(&next()?).ok()?)?;
    let mut parts = Vec::new();
    while let Some(list) = next() {
        let count: usize = std::str::from_utf8(&next()?).ok()?.parse().ok()?;
        let tags: Option<Vec<_>> = (0..count).map(|_| next()).collect();
        parts.push(Logged { list, tags: tags? });
    }
    Some((start, parts))
}

/// How many of the messages that went back last are remembered, so that later ones find their
/// place among them.
const MOST_RETURNED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_exact() {
        let score = Score::parse("1795498193.076725").unwrap();
        assert_eq!(score, Score(1_795_498_193_076_725));
        assert_eq!(score.to_string(), "1795498193.076725");
        assert_eq!(Score::parse("1795498193.07"), None);
    }

    #[test]
    fn logs_are_read() {
        let log = Bytes::from_static(b"8:1.0000011:q1:22:t12:t23:q:31:11:x");
        let (start, parts) = read_log(&log).unwrap();
        assert_eq!(start, Score(1_000_001));
        let logged = |list: &'static str, tags: &[&'static str]| Logged {
            list: list.into(),
            tags: tags.iter().map(|tag| Bytes::from_static(tag.as_bytes())).collect(),
        };
        assert_eq!(parts, [logged("q", &["t1", "t2"]), logged("q:3", &["x"])]);
        assert_eq!(read_log(&Bytes::from_static(b"9:1")), None);
    }

    #[test]
    fn what_is_struck_is_not_held() {
        let ledger = Ledger::default();
        let taken = ["a", "b"].map(|tag| (Arc::from("q"), 0, Bytes::from_static(tag.as_bytes())));
        let held = ledger.enter(Score(1), taken);
        ledger.strike([&held[0]]);
        let left = ledger.all();
        assert_eq!((left.len(), &*left[0].tag), (1, b"b".as_slice()));
        ledger.note_returned([(Bytes::from_static(b"a"), held[0].number)]);
        let again = ledger.enter(Score(2), [(Arc::from("r"), 0, Bytes::from_static(b"a"))]);
        assert_eq!(again[0].number, held[0].number, "it keeps its place");
        ledger.strike(&again);
        assert_eq!(ledger.strike_queue("q").len(), 1);
        assert!(left[0].is_gone() && ledger.all().is_empty());
    }
}
