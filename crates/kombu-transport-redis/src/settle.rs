//! Settles messages that were taken, and renews them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;

use crate::estate::{self, Entry};
use crate::ledger::Held;
use crate::record;
use crate::scripts::{FORGET, RENEW, number};
use crate::store::{Receipt, RedisStore};
use crate::waiters::queue_changed;

impl RedisStore {
    /// Settles messages: those that go first, then those that go back.
    pub(crate) async fn settle_all(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let scores = self.core.scores.lock().await;
        self.settle_recorded(&batch, &mut answers, false).await;
        self.settle_recorded(&batch, &mut answers, true).await;
        drop(scores);
        for settlement in batch.into_iter().rev() {
            if let (Receipt::Fanout(message), Outcome::Requeue) =
                (settlement.receipt, settlement.outcome)
            {
                let message =
                    if settlement.delivered { record::mark_redelivered(&message) } else { message };
                self.core.fanout.put_back(&settlement.queue, message);
                queue_changed(&self.core.waiters, &settlement.queue);
            }
        }
        answers
    }

    /// Gives records that are held a new time.
    pub(crate) async fn renew_all(&self, receipts: &[Receipt]) -> Result<()> {
        let scores = self.core.scores.lock().await;
        let recorded = receipts.iter().enumerate().filter_map(|(at, receipt)| match receipt {
            Receipt::Recorded(held) => Some((at, held)),
            Receipt::Fanout(_) => None,
        });
        for (queue, group) in self.groups(recorded) {
            let now = self.core.now();
            for (_, held) in &group {
                held.renewing(now);
            }
            let pairs = group.iter().flat_map(|(_, held)| [held.tag.clone(), number(held.score())]);
            let arguments = std::iter::once(number(now)).chain(pairs);
            let index = [self.core.keys.unacked_index(&queue)];
            let lost = self.core.run(RENEW, &index, arguments).await?.into_list()?;
            let mut gone = Vec::new();
            for place in lost {
                gone.push(place.into_int()?);
            }
            for (place, (_, held)) in group.iter().enumerate() {
                let kept = !i64::try_from(place).is_ok_and(|place| gone.contains(&place));
                held.renewed(kept);
            }
        }
        drop(scores);
        Ok(())
    }

    /// Groups recorded messages by the keys that their records are in.
    fn groups<'a>(
        &self,
        held: impl Iterator<Item = (usize, &'a Arc<Held>)>,
    ) -> BTreeMap<Arc<str>, Vec<(usize, Arc<Held>)>> {
        let mut groups: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (at, held) in held {
            let group =
                if self.core.keys.is_cluster() { Arc::clone(&held.queue) } else { Arc::from("") };
            groups.entry(group).or_default().push((at, Arc::clone(held)));
        }
        groups
    }

    /// Forgets records; returns the places of those that were somebody else's.
    pub(crate) async fn forget(
        &self,
        queue: &str,
        held: &[(usize, Arc<Held>)],
    ) -> Result<Vec<usize>> {
        let keys = [self.core.keys.unacked(queue), self.core.keys.unacked_index(queue)];
        let arguments = held.iter().flat_map(|(_, held)| [held.tag.clone(), number(held.score())]);
        let lost = self.core.run(FORGET, &keys, arguments).await?.into_list()?;
        let places = lost.into_iter().map(|place| Ok(usize::try_from(place.into_int()?).ok()));
        Ok(places.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    async fn settle_recorded(
        &self,
        batch: &[Settlement<Receipt>],
        answers: &mut [Result<()>],
        requeue: bool,
    ) {
        let recorded = batch.iter().enumerate().filter_map(|(at, settlement)| {
            let Receipt::Recorded(held) = &settlement.receipt else { return None };
            let back = settlement.outcome == Outcome::Requeue;
            (back == requeue && !held.is_gone()).then_some((at, held))
        });
        for (queue, mut group) in self.groups(recorded) {
            let done = if requeue {
                // Put to the head, the last comes first.
                group.sort_unstable_by_key(|(_, held)| std::cmp::Reverse(held.number));
                let entries = group.iter().map(|(at, held)| Entry {
                    tag: held.tag.clone(),
                    score: number(held.score()),
                    other_score: Bytes::new(),
                    number: Some(held.number),
                    marked: batch.get(*at).is_none_or(|settlement| settlement.delivered),
                    list: self.core.keys.list(&held.queue, held.step),
                });
                let moved = estate::give_back(&self.core, &queue, entries.collect()).await;
                for (_, held) in &group {
                    queue_changed(&self.core.waiters, &held.queue);
                }
                moved.map(|_| Vec::new())
            } else {
                self.forget(&queue, &group).await
            };
            match done {
                Ok(lost) => {
                    self.core.ledger.strike(group.iter().map(|(_, held)| held));
                    for place in lost {
                        if let Some(answer) =
                            group.get(place).and_then(|(at, _)| answers.get_mut(*at))
                        {
                            *answer = Err(Error::new(
                                ErrorKind::StaleDelivery,
                                "the message was not renewed in time, and went back to its queue",
                            ));
                        }
                    }
                }
                Err(error) => {
                    for (at, _) in &group {
                        if let Some(answer) = answers.get_mut(*at) {
                            *answer = Err(error.duplicate());
                        }
                    }
                }
            }
        }
    }
}
