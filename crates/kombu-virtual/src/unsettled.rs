//! The messages that a channel delivered and that nobody settled yet.

use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

use kombu_core::transport::{DeliveryTag, Publish};

use crate::consumer::Consumer;
use crate::dead_letter::DeadLetters;

/// A delivered message.
#[derive(Debug)]
pub(crate) struct Held<R> {
    /// The consumer whose window it fills; none for one taken with `get`.
    pub(crate) consumer: Option<Arc<Consumer<R>>>,
    pub(crate) queue: Arc<str>,
    pub(crate) receipt: Option<R>,
    pub(crate) since: Instant,
    /// A copy of the message, where settling may need it.
    pub(crate) spare: Option<Box<Spare>>,
}

/// What is needed to publish a message again: as a dead letter, or because the store cannot take it
/// back.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) publish: Publish,
    pub(crate) letters: Option<Arc<DeadLetters>>,
}

/// Messages by delivery tag. Tags rise, and most messages are settled in about that order.
#[derive(Debug)]
pub(crate) struct Unsettled<T> {
    last: u64,
    /// By tag; settled ones leave holes until they reach the front or become too many.
    slots: VecDeque<(u64, Option<T>)>,
    holes: usize,
}

impl<T> Unsettled<T> {
    pub(crate) fn new() -> Self {
        Self { last: 0, slots: VecDeque::new(), holes: 0 }
    }

    /// The tag of a message that needs no settling.
    pub(crate) fn skip(&mut self) -> DeliveryTag {
        self.last += 1;
        DeliveryTag(self.last)
    }

    pub(crate) fn push(&mut self, held: T) -> DeliveryTag {
        let tag = self.skip();
        self.slots.push_back((tag.0, Some(held)));
        tag
    }

    pub(crate) fn take(&mut self, tag: DeliveryTag) -> Option<T> {
        let at = self.find(tag.0)?;
        let held = self.slots.get_mut(at)?.1.take()?;
        self.holes += 1;
        self.tidy();
        Some(held)
    }

    /// Takes all up to a tag; with tag 0 all there are, as AMQP has it.
    pub(crate) fn take_up_to(&mut self, tag: DeliveryTag) -> Vec<T> {
        let end = match tag.0 {
            0 => self.slots.len(),
            tag => self.slots.partition_point(|(have, _)| *have <= tag),
        };
        let taken: Vec<_> = self.slots.drain(..end).filter_map(|(_, held)| held).collect();
        self.holes -= end - taken.len();
        self.tidy();
        taken
    }

    /// Takes all from a tag on.
    pub(crate) fn take_since(&mut self, tag: DeliveryTag) -> Vec<T> {
        let start = self.slots.partition_point(|(have, _)| *have < tag.0);
        let slots = self.slots.len() - start;
        let taken: Vec<_> = self.slots.drain(start..).filter_map(|(_, held)| held).collect();
        self.holes -= slots - taken.len();
        taken
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|(_, held)| held.as_ref())
    }

    fn find(&self, tag: u64) -> Option<usize> {
        let front = self.slots.front()?.0;
        // Without gaps the place follows from the tag.
        let guess = usize::try_from(tag.checked_sub(front)?).ok()?;
        if self.slots.get(guess).is_some_and(|(have, _)| *have == tag) {
            return Some(guess);
        }
        self.slots.binary_search_by_key(&tag, |(have, _)| *have).ok()
    }

    fn tidy(&mut self) {
        while let Some((_, None)) = self.slots.front() {
            self.slots.pop_front();
            self.holes -= 1;
        }
        if self.holes > 64 && self.holes > self.slots.len() / 2 {
            self.slots.retain(|(_, held)| held.is_some());
            self.holes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Skip,
        Take(u64),
        UpTo(u64),
        Since(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => Just(Step::Push),
            1 => Just(Step::Skip),
            4 => (0..400_u64).prop_map(Step::Take),
            1 => (0..400_u64).prop_map(Step::UpTo),
            1 => (1..400_u64).prop_map(Step::Since),
        ]
    }

    proptest! {
        #[test]
        fn unsettled_is_a_sorted_map(steps in prop::collection::vec(step(), 0..600)) {
            let mut tested = Unsettled::new();
            let mut model = BTreeMap::new();
            let mut last = 0;
            for step in steps {
                match step {
                    Step::Push => {
                        last += 1;
                        prop_assert_eq!(tested.push(last), DeliveryTag(last));
                        model.insert(last, last);
                    }
                    Step::Skip => {
                        last += 1;
                        prop_assert_eq!(tested.skip(), DeliveryTag(last));
                    }
                    Step::Take(tag) => {
                        prop_assert_eq!(tested.take(DeliveryTag(tag)), model.remove(&tag));
                    }
                    Step::UpTo(tag) => {
                        let rest = if tag == 0 { BTreeMap::new() } else { model.split_off(&(tag + 1)) };
                        let taken = std::mem::replace(&mut model, rest);
                        let taken: Vec<_> = taken.into_values().collect();
                        prop_assert_eq!(tested.take_up_to(DeliveryTag(tag)), taken);
                    }
                    Step::Since(tag) => {
                        let taken: Vec<_> = model.split_off(&tag).into_values().collect();
                        prop_assert_eq!(tested.take_since(DeliveryTag(tag)), taken);
                    }
                }
                prop_assert_eq!(
                    tested.iter().copied().collect::<Vec<_>>(),
                    model.values().copied().collect::<Vec<_>>()
                );
            }
        }
    }

    #[test]
    fn one_old_message_does_not_keep_the_places_of_later_ones() {
        let mut unsettled = Unsettled::new();
        let old = unsettled.push(0);
        for number in 1..100_000 {
            let tag = unsettled.push(number);
            assert_eq!(unsettled.take(tag), Some(number));
        }
        assert!(unsettled.slots.len() < 1000);
        assert_eq!(unsettled.take(old), Some(0));
    }
}
