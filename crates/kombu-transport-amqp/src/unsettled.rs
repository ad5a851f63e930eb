//! Which deliveries of a channel await their settlement, and how few frames settle them.

use std::collections::VecDeque;

use kombu_core::transport::{DeliveryTag, Outcome, Settle};
use kombu_core::{Error, ErrorKind, Result};

/// A settlement as it goes to the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) tag: u64,
    pub(crate) outcome: Outcome,
    /// For all deliveries up to the tag that the broker still has open.
    pub(crate) multiple: bool,
}

/// The deliveries of a channel, from the oldest open one on.
///
/// The broker numbers them from 1 without gaps, for all consumers and gets of the channel
/// together, also those that need no settlement. Consumers run apart, so that this side may see
/// number 8 before number 7: what was not seen counts as open, and no `multiple` reaches over it.
#[derive(Debug)]
pub(crate) struct Unsettled {
    /// The tag of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// The tags with a decision that was not sent, in the order of the decisions.
    decided: Vec<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Slot {
    /// The broker used the number, but the delivery did not come to here yet.
    Unseen,
    /// Delivered.
    Open,
    /// Settled by the user; the broker does not know yet.
    Decided(Outcome),
    /// Settled, or delivered without need for it.
    Done,
}

impl Unsettled {
    pub(crate) fn new() -> Self {
        Self { first: 1, slots: VecDeque::new(), decided: Vec::new() }
    }

    /// Records a delivery that is to be settled.
    pub(crate) fn delivered(&mut self, tag: u64) {
        self.set(tag, Slot::Open);
    }

    /// Records a delivery that the broker holds for settled already.
    pub(crate) fn delivered_settled(&mut self, tag: u64) {
        self.set(tag, Slot::Done);
        self.forget_done();
    }

    /// Records decisions; says how many wait to be sent.
    ///
    /// # Errors
    ///
    /// `MessageState` for a delivery that is not open.
    pub(crate) fn settle(&mut self, settle: Settle) -> Result<usize> {
        let DeliveryTag(tag) = settle.tag;
        let last = tag
            .checked_sub(self.first)
            .and_then(|index| usize::try_from(index).ok())
            .filter(|index| self.slots.get(*index) == Some(&Slot::Open))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::MessageState,
                    "the channel has no unsettled message of this tag",
                )
                .with("tag", tag)
            })?;
        let first = if settle.multiple { 0 } else { last };
        for (tag, slot) in (self.first..).zip(&mut self.slots).take(last + 1).skip(first) {
            if *slot == Slot::Open {
                *slot = Slot::Decided(settle.outcome);
                self.decided.push(tag);
            }
        }
        Ok(self.decided.len())
    }

    /// Decides on all open deliveries.
    pub(crate) fn settle_all(&mut self, outcome: Outcome) {
        for (tag, slot) in (self.first..).zip(&mut self.slots) {
            if *slot == Slot::Open {
                *slot = Slot::Decided(outcome);
                self.decided.push(tag);
            }
        }
    }

    /// The frames for all decisions so far, to be sent in this order.
    ///
    /// From the oldest delivery on, a run of equal decisions is one frame with `multiple`: nothing
    /// that is open lies below its tag once the frames before it are processed.
    ///
    /// `nack` says whether the broker can refuse several at once, which AMQP 0-9-1 itself cannot.
    pub(crate) fn frames(&mut self, nack: bool) -> Vec<Frame> {
        let mut decided = std::mem::take(&mut self.decided);
        let mut frames: Vec<Frame> = Vec::new();
        while let Some(slot) = self.slots.front() {
            match *slot {
                Slot::Done => {}
                Slot::Decided(outcome) => match frames.last_mut() {
                    Some(run) if run.outcome == outcome && (nack || outcome == Outcome::Ack) => {
                        run.tag = self.first;
                        run.multiple = true;
                    }
                    _ => frames.push(Frame { tag: self.first, outcome, multiple: false }),
                },
                Slot::Open | Slot::Unseen => break,
            }
            self.slots.pop_front();
            self.first += 1;
        }
        // Beyond an open delivery each goes by itself.
        decided.retain(|tag| *tag >= self.first);
        decided.sort_unstable();
        for tag in decided {
            let Some(slot) = self.slot(tag) else { continue };
            if let Slot::Decided(outcome) = *slot {
                *slot = Slot::Done;
                frames.push(Frame { tag, outcome, multiple: false });
            }
        }
        frames
    }

    /// Whether decisions wait to be sent.
    pub(crate) fn has_decisions(&self) -> bool {
        !self.decided.is_empty()
    }

    fn set(&mut self, tag: u64, slot: Slot) {
        let Some(index) = tag.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::Unseen);
        }
        self.slots[index] = slot;
    }

    fn slot(&mut self, tag: u64) -> Option<&mut Slot> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(index)
    }

    fn forget_done(&mut self) {
        while self.slots.front() == Some(&Slot::Done) {
            self.slots.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(tags: impl IntoIterator<Item = u64>) -> Unsettled {
        let mut unsettled = Unsettled::new();
        tags.into_iter().for_each(|tag| unsettled.delivered(tag));
        unsettled
    }

    fn decide(unsettled: &mut Unsettled, tags: impl IntoIterator<Item = u64>, outcome: Outcome) {
        for tag in tags {
            unsettled.settle(Settle::one(DeliveryTag(tag), outcome)).unwrap();
        }
    }

    fn frame(tag: u64, outcome: Outcome, multiple: bool) -> Frame {
        Frame { tag, outcome, multiple }
    }

    #[test]
    fn a_run_from_the_oldest_on_is_one_frame() {
        let mut unsettled = delivered(1..=100);
        decide(&mut unsettled, (1..=60).rev(), Outcome::Ack);
        assert_eq!(unsettled.frames(true), [frame(60, Outcome::Ack, true)]);
        decide(&mut unsettled, [61], Outcome::Ack);
        assert_eq!(unsettled.frames(true), [frame(61, Outcome::Ack, false)]);
        assert_eq!(unsettled.frames(true), []);
    }

    #[test]
    fn nothing_reaches_over_an_open_delivery() {
        let mut unsettled = delivered(1..=6);
        decide(&mut unsettled, [1, 2, 4, 6, 5], Outcome::Ack);
        assert_eq!(
            unsettled.frames(true),
            [
                frame(2, Outcome::Ack, true),
                frame(4, Outcome::Ack, false),
                frame(5, Outcome::Ack, false),
                frame(6, Outcome::Ack, false),
            ]
        );
        decide(&mut unsettled, [3], Outcome::Ack);
        assert_eq!(unsettled.frames(true), [frame(3, Outcome::Ack, false)]);
        unsettled.delivered(7);
        decide(&mut unsettled, [7], Outcome::Ack);
        assert_eq!(unsettled.frames(true), [frame(7, Outcome::Ack, false)]);
    }

    #[test]
    fn nothing_reaches_over_a_delivery_that_was_not_seen() {
        let mut unsettled = delivered([1, 3]);
        decide(&mut unsettled, [1, 3], Outcome::Ack);
        assert_eq!(
            unsettled.frames(true),
            [frame(1, Outcome::Ack, false), frame(3, Outcome::Ack, false)]
        );
        unsettled.delivered(2);
        unsettled.delivered(4);
        decide(&mut unsettled, [2, 4], Outcome::Ack);
        assert_eq!(unsettled.frames(true), [frame(4, Outcome::Ack, true)]);
    }

    #[test]
    fn runs_of_different_outcomes_follow_each_other() {
        let mut unsettled = delivered(1..=7);
        unsettled.delivered_settled(8);
        unsettled.delivered(9);
        decide(&mut unsettled, [1, 2], Outcome::Ack);
        decide(&mut unsettled, [3, 4], Outcome::Requeue);
        decide(&mut unsettled, [5], Outcome::Reject);
        decide(&mut unsettled, [6, 7, 9], Outcome::Ack);
        assert_eq!(
            unsettled.frames(true),
            [
                frame(2, Outcome::Ack, true),
                frame(4, Outcome::Requeue, true),
                frame(5, Outcome::Reject, false),
                frame(9, Outcome::Ack, true),
            ]
        );
    }

    #[test]
    fn without_nack_only_acks_run() {
        let mut unsettled = delivered(1..=4);
        decide(&mut unsettled, [1, 2], Outcome::Requeue);
        decide(&mut unsettled, [3, 4], Outcome::Ack);
        assert_eq!(
            unsettled.frames(false),
            [
                frame(1, Outcome::Requeue, false),
                frame(2, Outcome::Requeue, false),
                frame(4, Outcome::Ack, true),
            ]
        );
    }

    #[test]
    fn up_to_a_tag_means_all_that_are_open() {
        let mut unsettled = delivered(1..=5);
        decide(&mut unsettled, [2], Outcome::Reject);
        assert_eq!(
            unsettled.settle(Settle::up_to(DeliveryTag(4), Outcome::Ack)).unwrap(),
            4,
            "2, and then 1, 3, 4"
        );
        assert_eq!(
            unsettled.frames(true),
            [
                frame(1, Outcome::Ack, false),
                frame(2, Outcome::Reject, false),
                frame(4, Outcome::Ack, true),
            ]
        );
        unsettled.settle_all(Outcome::Requeue);
        assert_eq!(unsettled.frames(true), [frame(5, Outcome::Requeue, false)]);
    }

    #[test]
    fn what_is_not_open_cannot_be_settled() {
        let mut unsettled = delivered([1, 3]);
        unsettled.delivered_settled(4);
        decide(&mut unsettled, [1], Outcome::Ack);
        for tag in [0, 1, 2, 4, 5, u64::MAX] {
            let error = unsettled.settle(Settle::one(DeliveryTag(tag), Outcome::Ack)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MessageState, "{tag}");
        }
        let _sent = unsettled.frames(true);
        assert!(unsettled.settle(Settle::one(DeliveryTag(1), Outcome::Ack)).is_err());
    }
}
