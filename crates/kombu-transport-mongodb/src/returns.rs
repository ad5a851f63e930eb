//! Giving messages back to the queues that they were taken from, to their old places.

use std::collections::BTreeMap;

use kombu_core::Result;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};

use crate::core::Core;
use crate::record;

/// What goes back.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    /// What was taken with one of these tokens, by its ids.
    Taken { ids: Vec<Bson>, tokens: Vec<ObjectId> },
    /// What a connection that is gone held.
    OwnedBy(ObjectId),
    /// What nobody has renewed.
    Abandoned,
}

/// A document on its way back.
#[derive(Debug)]
struct Return {
    id: Bson,
    queue: String,
    payload: Option<String>,
}

/// Gives messages back, and says how many. With `mark` they count as delivered.
///
/// First the marks are made, then all of a queue are back with one call: who asks for them
/// meanwhile gets them in their order.
pub(crate) async fn give_back(core: &Core, which: &Which, mark: bool) -> Result<u64> {
    let mut moved = 0;
    loop {
        let filter = filter(core, which);
        let returns = find(core, filter.clone()).await?;
        let count = returns.len();
        if count == 0 {
            return Ok(moved);
        }
        if mark {
            make_marks(core, &returns).await?;
        }
        let mut queues: BTreeMap<String, Vec<Bson>> = BTreeMap::new();
        for back in returns {
            queues.entry(back.queue).or_default().push(back.id);
        }
        let before = moved;
        for (queue, ids) in queues {
            let mut of_queue = filter.clone();
            of_queue.insert("_id", doc! { "$in": ids });
            of_queue.insert("claim.queue", &queue);
            let update = doc! { "$set": { "queue": &queue }, "$unset": { "claim": "" } };
            let messages = core.messages.clone();
            let updated =
                core.call(async move { messages.update_many(of_queue, update).await }).await?;
            moved += updated.modified_count;
            core.hub.waiters.wake_queue(&queue);
        }
        if count < PAGE || moved == before {
            return Ok(moved);
        }
    }
}

fn filter(core: &Core, which: &Which) -> Document {
    match which {
        Which::Taken { ids, tokens } => {
            doc! { "_id": { "$in": ids }, "claim.token": { "$in": tokens } }
        }
        Which::OwnedBy(owner) => record::held(doc! { "claim.owner": owner }),
        Which::Abandoned => {
            doc! { "queue": Bson::Null, "claim.until": { "$lte": core.clock.now() } }
        }
    }
}

async fn find(core: &Core, filter: Document) -> Result<Vec<Return>> {
    let messages = core.messages.clone();
    let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
    core.call(async move {
        let fields = doc! { "payload": 1, "claim": 1 };
        // The first ones first: who takes some meanwhile gets those that are before the others.
        let order = doc! { "priority": 1, "_id": 1 };
        let mut cursor = messages.find(filter).sort(order).projection(fields).limit(limit).await?;
        let mut returns = Vec::new();
        while cursor.advance().await? {
            let document = cursor.current();
            let Ok(claim) = document.get_document("claim") else { continue };
            let (Some(id), Ok(queue)) = (record::id(document), claim.get_str("queue")) else {
                continue;
            };
            returns.push(Return {
                id,
                queue: queue.to_owned(),
                payload: document.get_str("payload").ok().map(str::to_owned),
            });
        }
        Ok(returns)
    })
    .await
}

/// Counts the delivery, and writes into the payload that there was one, as Kombu does.
async fn make_marks(core: &Core, returns: &[Return]) -> Result<()> {
    let mut updates: Vec<Document> = Vec::new();
    let mut bytes = 0;
    for (at, back) in returns.iter().enumerate() {
        let mut update = doc! { "$inc": { "deliveries": 1 } };
        if let Some(marked) = back.payload.as_deref().and_then(record::marked) {
            bytes += marked.len();
            update.insert("$set", doc! { "payload": marked });
        }
        // Whoever has it by now: it was delivered. All with that id, which is one, since FerretDB
        // keeps a connection to its database for each update of one document until the last is
        // done, and has 100 of them.
        updates.push(doc! { "q": { "_id": &back.id }, "u": update, "multi": true });
        if bytes >= MOST_BYTES || at + 1 == returns.len() {
            bytes = 0;
            let updates = std::mem::take(&mut updates);
            let command = doc! { "update": core.messages.name(), "updates": updates };
            core.command(command).await?;
        }
    }
    Ok(())
}

/// How many documents are given back in one step.
const PAGE: usize = 100;

/// The most bytes of messages in one call, beside a last one.
const MOST_BYTES: usize = 4 << 20;
