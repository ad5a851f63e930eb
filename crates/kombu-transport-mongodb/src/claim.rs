//! Taking messages: they stay where they are, but in no queue until they are settled.
//!
//! A document that is taken has no queue any more, and a `claim` that says which one it had, who
//! holds it, and until when. Kombu asks for documents by their queue and never meets it. Given
//! back, it is where it was: its id and its priority did not change.

use std::sync::Arc;

use kombu_core::Result;
use kombu_virtual::{Claimed, Want};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use tokio::time::Instant;

use crate::broadcast;
use crate::core::Core;
use crate::record;
use crate::settle::{Held, Receipt};

/// Takes messages of one queue, as many as are wanted and there.
///
/// With `now`, what was published to a fanout exchange before this call counts as there.
pub(crate) async fn take(core: &Core, want: &Want, now: bool) -> Result<Vec<Claimed<Receipt>>> {
    let mut claimed = Vec::new();
    if let Some(letters) = core.fan_queue(&want.queue) {
        if now && letters.len() == 0 {
            broadcast::catch_up(core, &letters).await?;
        }
        for (number, letter) in letters.take(want.limit, core.owner) {
            let receipt = Receipt::Fanout(Arc::clone(&letters), number);
            claimed.push(record::read_letter(&want.queue, receipt, &letter));
        }
    }
    let left = want.limit.saturating_sub(claimed.len());
    let documents = match left {
        0 => Vec::new(),
        1 => take_one(core, &want.queue).await?,
        _ => take_many(core, &want.queue, left).await?,
    };
    claimed.extend(documents);
    Ok(claimed)
}

/// One call that finds and takes.
async fn take_one(core: &Core, queue: &Arc<str>) -> Result<Vec<Claimed<Receipt>>> {
    let claim = Claim::new(core, queue);
    let messages = core.messages.clone();
    let filter = doc! { "queue": &**queue, "expire_at": { "$not": { "$lte": core.clock.now() } } };
    let update = claim.update();
    let found = core
        .call(async move { messages.find_one_and_update(filter, update).sort(order()).await })
        .await?;
    Ok(found.iter().filter_map(|document| claim.read(document)).collect())
}

/// Finds many, takes them all, and looks which ones it got if others were there as well.
async fn take_many(core: &Core, queue: &Arc<str>, most: usize) -> Result<Vec<Claimed<Receipt>>> {
    for _attempt in 0..ATTEMPTS {
        let mut found = find(core, queue, most).await?;
        let now = core.clock.now();
        let expired: Vec<_> = found
            .extract_if(.., |document| record::is_expired(document, now))
            .filter_map(|document| record::id(&document))
            .collect();
        let some_expired = !expired.is_empty();
        if some_expired {
            let filter = doc! { "_id": { "$in": expired }, "queue": &**queue };
            let messages = core.messages.clone();
            core.call(async move { messages.delete_many(filter).await }).await?;
        }
        if found.is_empty() {
            if some_expired {
                continue;
            }
            return Ok(Vec::new());
        }
        let claim = Claim::new(core, queue);
        let ids: Vec<Bson> = found.iter().filter_map(|document| record::id(document)).collect();
        let filter = doc! { "_id": { "$in": &ids }, "queue": &**queue };
        let (messages, update) = (core.messages.clone(), claim.update());
        let updated = core.call(async move { messages.update_many(filter, update).await }).await?;
        let taken = usize::try_from(updated.modified_count).unwrap_or(usize::MAX);
        if taken >= ids.len() {
            return Ok(found.iter().filter_map(|document| claim.read(document)).collect());
        }
        if taken > 0 {
            let mine = mine(core, ids, claim.token).await?;
            found.retain(|document| record::id(document).is_some_and(|id| mine.contains(&id)));
            return Ok(found.iter().filter_map(|document| claim.read(document)).collect());
        }
        // Others took them all.
    }
    take_one(core, queue).await
}

/// The messages at the head of a queue, not more than one answer of the server carries.
async fn find(core: &Core, queue: &str, most: usize) -> Result<Vec<RawDocumentBuf>> {
    let messages = core.messages.clone();
    let filter = doc! { "queue": queue };
    let most = u16::try_from(most).unwrap_or(u16::MAX);
    // A negative limit asks for one answer, and leaves no cursor open.
    let limit = -i64::from(most);
    core.call(async move {
        let finding = messages.find(filter).sort(order()).limit(limit).batch_size(most.into());
        let mut cursor = finding.await?;
        let mut found = Vec::new();
        while cursor.advance().await? {
            found.push(cursor.current().to_owned());
        }
        Ok(found)
    })
    .await
}

/// Which of some documents have the claim.
async fn mine(core: &Core, ids: Vec<Bson>, token: ObjectId) -> Result<Vec<Bson>> {
    let messages = core.messages.clone();
    let filter = doc! { "_id": { "$in": ids }, "claim.token": token };
    core.call(async move {
        let mut cursor = messages.find(filter).projection(doc! { "_id": 1 }).await?;
        let mut mine = Vec::new();
        while cursor.advance().await? {
            mine.extend(record::id(cursor.current()));
        }
        Ok(mine)
    })
    .await
}

/// One claim on documents of a queue.
struct Claim<'a> {
    core: &'a Core,
    queue: &'a Arc<str>,
    token: ObjectId,
    until: Instant,
}

impl<'a> Claim<'a> {
    fn new(core: &'a Core, queue: &'a Arc<str>) -> Self {
        let until = Instant::now() + core.options.visibility_timeout;
        Self { core, queue, token: ObjectId::new(), until }
    }

    fn update(&self) -> Document {
        let until = self.core.clock.after(self.core.options.visibility_timeout);
        record::claim(self.queue, self.core.owner, self.token, until)
    }

    fn read(&self, document: &RawDocumentBuf) -> Option<Claimed<Receipt>> {
        let held = Held::new(record::id(document)?, self.token, self.until);
        Some(record::read(self.queue, Receipt::Stored(Arc::new(held)), document))
    }
}

/// Urgent ones first, which have low numbers, and of these the oldest.
fn order() -> Document {
    doc! { "priority": 1, "_id": 1 }
}

/// How often many are tried for before one is taken for sure.
const ATTEMPTS: usize = 4;
