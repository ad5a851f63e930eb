//! What becomes of messages that were taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};
use tokio::time::Instant;

use crate::core::Core;
use crate::fanout::FanQueue;
use crate::record;
use crate::returns::{Which, give_back};

/// Names a message that was taken.
#[derive(Clone, Debug)]
pub(crate) enum Receipt {
    /// A message of a fanout exchange, which only this process has.
    Fanout(Arc<FanQueue>, u64),
    Stored(Arc<Held>),
}

/// A document that was taken.
#[derive(Debug)]
pub(crate) struct Held {
    id: Bson,
    /// Of the claim by which it was taken.
    token: ObjectId,
    /// Until when it is surely not given to anyone else; none if it is lost.
    until: Mutex<Option<Instant>>,
}

impl Held {
    pub(crate) fn new(id: Bson, token: ObjectId, until: Instant) -> Self {
        Self { id, token, until: Mutex::new(Some(until)) }
    }

    fn is_sure(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn set_until(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// A document and its place in a batch.
type Place<'a> = (usize, &'a Arc<Held>);

/// Settles a batch; one answer per element.
pub(crate) async fn settle(core: &Core, batch: &[Settlement<Receipt>]) -> Vec<Result<()>> {
    let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
    let mut done: Vec<Place<'_>> = Vec::new();
    let (mut seen, mut unseen): (Vec<Place<'_>>, Vec<Place<'_>>) = (Vec::new(), Vec::new());
    for (at, settlement) in batch.iter().enumerate() {
        match (&settlement.receipt, settlement.outcome) {
            (Receipt::Fanout(queue, number), Outcome::Requeue) => {
                queue.put_back(*number, settlement.delivered);
                core.hub.waiters.wake_queue(&settlement.queue);
            }
            (Receipt::Fanout(queue, number), _) => queue.forget(*number),
            (Receipt::Stored(held), Outcome::Requeue) if settlement.delivered => {
                seen.push((at, held));
            }
            (Receipt::Stored(held), Outcome::Requeue) => unseen.push((at, held)),
            (Receipt::Stored(held), _) => done.push((at, held)),
        }
    }
    for (at, error) in forget(core, done).await {
        set(&mut answers, at, error);
    }
    for (places, mark) in [(seen, true), (unseen, false)] {
        if places.is_empty() {
            continue;
        }
        let mut tokens: Vec<_> = places.iter().map(|(_, held)| held.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let ids = places.iter().map(|(_, held)| held.id.clone()).collect();
        if let Err(error) = give_back(core, &Which::Taken { ids, tokens }, mark).await {
            for (at, _) in places {
                set(&mut answers, at, error.duplicate());
            }
        }
    }
    answers
}

/// Extends the time of what is held. If it was over already, and others have some of it by now, the
/// program has slept: the link is given up, as a broker would do it, so that what is held here in
/// vain does not fill the consumers' windows.
pub(crate) async fn renew(core: &Core, receipts: &[Receipt]) -> Result<()> {
    let held = receipts.iter().enumerate().filter_map(|(at, receipt)| match receipt {
        Receipt::Stored(held) => Some((at, held)),
        Receipt::Fanout(..) => None,
    });
    let lease = core.options.visibility_timeout;
    let renewals = by_token(held).into_iter().map(|(token, places)| async move {
        let late = places.iter().any(|(_, held)| !held.is_sure());
        let until = Instant::now() + lease;
        let filter = doc! { "_id": { "$in": ids(&places) }, "claim.token": token };
        let update = doc! { "$set": { "claim.until": core.clock.after(lease) } };
        let messages = core.messages.clone();
        let renewed = core.call(async move { messages.update_many(filter, update).await }).await?;
        let all = usize::try_from(renewed.matched_count).is_ok_and(|count| count == places.len());
        let kept = if all { None } else { Some(remaining(core, &places, Some(token)).await?) };
        for (_, held) in &places {
            let kept = kept.as_ref().is_none_or(|kept| kept.contains(&held.id));
            held.set_until(kept.then_some(until));
        }
        if late && kept.is_some_and(|kept| kept.len() < places.len()) {
            return Err(core.judge(Error::lost(format!(
                "messages were not renewed for more than {lease:?}, and others have them"
            ))));
        }
        Ok(())
    });
    join_all(renewals).await.into_iter().collect()
}

/// Deletes documents, and says which ones were not held any more.
async fn forget(core: &Core, places: Vec<Place<'_>>) -> Vec<(usize, Error)> {
    let (sure, doubtful): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|(_, held)| held.is_sure());
    let together = by_token(sure.into_iter())
        .into_iter()
        .map(|(token, places)| forget_together(core, token, places));
    let apart = doubtful.into_iter().map(|(at, held)| async move {
        let filter = doc! { "_id": &held.id, "claim.token": held.token };
        let messages = core.messages.clone();
        match core.call(async move { messages.delete_one(filter).await }).await {
            Ok(deleted) if deleted.deleted_count > 0 => None,
            Ok(_) => Some((at, stale())),
            Err(error) => Some((at, error)),
        }
    });
    let (together, apart) = tokio::join!(join_all(together), join_all(apart));
    together.into_iter().flatten().chain(apart.into_iter().flatten()).collect()
}

/// Deletes documents of one claim with one call.
async fn forget_together(
    core: &Core,
    token: ObjectId,
    places: Vec<Place<'_>>,
) -> Vec<(usize, Error)> {
    let filter = doc! { "_id": { "$in": ids(&places) }, "claim.token": token };
    let messages = core.messages.clone();
    let done = match core.call(async move { messages.delete_many(filter).await }).await {
        Ok(deleted) if usize::try_from(deleted.deleted_count) == Ok(places.len()) => {
            return Vec::new();
        }
        // What is still there is somebody else's by now.
        Ok(_) => remaining(core, &places, None).await,
        Err(error) => Err(error),
    };
    let failed = |(at, held): Place<'_>| match &done {
        Ok(remaining) => remaining.contains(&held.id).then(|| (at, stale())),
        Err(error) => Some((at, error.duplicate())),
    };
    places.into_iter().filter_map(failed).collect()
}

/// Which of some documents are there, with a token if one is given.
async fn remaining(
    core: &Core,
    places: &[Place<'_>],
    token: Option<ObjectId>,
) -> Result<Vec<Bson>> {
    let mut filter = doc! { "_id": { "$in": ids(places) } };
    if let Some(token) = token {
        filter.insert("claim.token", token);
    }
    let messages = core.messages.clone();
    core.call(async move {
        let mut cursor = messages.find(filter).projection(doc! { "_id": 1 }).await?;
        let mut remaining = Vec::new();
        while cursor.advance().await? {
            remaining.extend(record::id(cursor.current()));
        }
        Ok(remaining)
    })
    .await
}

fn by_token<'a>(places: impl Iterator<Item = Place<'a>>) -> BTreeMap<ObjectId, Vec<Place<'a>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (at, held) in places {
        groups.entry(held.token).or_default().push((at, held));
    }
    groups
}

fn ids(places: &[Place<'_>]) -> Vec<Bson> {
    places.iter().map(|(_, held)| held.id.clone()).collect()
}

fn set(answers: &mut [Result<()>], at: usize, error: Error) {
    if let Some(answer) = answers.get_mut(at) {
        *answer = Err(error);
    }
}

fn stale() -> Error {
    Error::new(
        ErrorKind::StaleDelivery,
        "the message was not renewed in time, and went back to its queue",
    )
}
