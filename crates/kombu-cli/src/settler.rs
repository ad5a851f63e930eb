//! Settling what is done with, without taking more from a queue than was asked for.

use kombu::{Acker, ErrorKind, Outcome};

use crate::end::Stop;

/// How many messages to have fetched at most, and when to settle.
///
/// A broker sends a new message for every one that is settled. So that a count takes exactly that
/// many, the last ones, as many as may be unsettled, are settled after the subscription ended.
/// Messages that go back are all held until then, or else they would come again at once.
pub(crate) struct Settler {
    outcome: Outcome,
    /// As many may be settled while the subscription lives; `None` for all.
    at_once: Option<u64>,
    settled: u64,
    held: Vec<Acker>,
}

impl Settler {
    /// One for `count` messages, or without end; `prefetch` is that of [`prefetch`].
    pub(crate) fn new(outcome: Outcome, count: Option<u64>, prefetch: u16) -> Self {
        let at_once = if outcome == Outcome::Requeue {
            Some(0)
        } else {
            count.map(|count| count.saturating_sub(prefetch.into()))
        };
        Self { outcome, at_once, settled: 0, held: Vec::new() }
    }

    /// Settles a message, now or later.
    pub(crate) fn settle(&mut self, acker: Acker) -> Result<(), Stop> {
        if self.at_once.is_some_and(|at_once| self.settled >= at_once) {
            self.held.push(acker);
            return Ok(());
        }
        self.settled += 1;
        settle(&acker, self.outcome)
    }

    /// Settles what was held. Those that go back do so last message first, so that the first is
    /// the head of its queue again.
    pub(crate) fn release(&mut self) -> Result<(), Stop> {
        let outcome = self.outcome;
        let held = std::mem::take(&mut self.held).into_iter();
        if outcome == Outcome::Requeue {
            held.rev().try_for_each(|acker| settle(&acker, outcome))
        } else {
            held.into_iter().try_for_each(|acker| settle(&acker, outcome))
        }
    }
}

/// The prefetch that `count` messages need, of which `wish` is the user's.
pub(crate) fn prefetch(wish: u16, count: Option<u64>) -> u16 {
    let Some(count) = count else { return wish };
    let count = u16::try_from(count).unwrap_or(u16::MAX);
    if wish == 0 { count } else { wish.min(count) }
}

/// Settles a message. One whose link broke comes again: nothing is lost, and all that was done
/// stays done.
pub(crate) fn settle(acker: &Acker, outcome: Outcome) -> Result<(), Stop> {
    match acker.settle(outcome) {
        Err(error) if error.kind() == ErrorKind::StaleDelivery => {
            tracing::warn!("the link broke before a message was settled: it will come again");
            Ok(())
        }
        settled => settled.map_err(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefetch_is_no_more_than_the_count() {
        for (wish, count, expected) in [
            (100, None, 100),
            (0, None, 0),
            (100, Some(5), 5),
            (100, Some(500), 100),
            (0, Some(5), 5),
            (0, Some(1_000_000), u16::MAX),
        ] {
            assert_eq!(prefetch(wish, count), expected, "{wish} {count:?}");
        }
    }
}
