//! Hears of messages that others put into queues, where the server tells of changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kombu_core::Result;
use mongodb::bson::doc;
use tokio::time::sleep;

use crate::core::Core;
use crate::cursor::Cursor;

/// Wakes those who wait, for as long as the link lives. While it hears, queues are looked at
/// seldom.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let heard = hear(&core).await;
        core.hears.store(false, Ordering::Release);
        if let Err(error) = heard {
            tracing::debug!(%error, "the server does not tell of changes; queues are polled");
        }
        tokio::select! {
            _lost = core.lost() => return,
            () = sleep(AGAIN) => {}
        }
    }
}

async fn hear(core: &Core) -> Result<()> {
    let name = core.messages.name();
    let command = doc! {
        "aggregate": name,
        "pipeline": [
            { "$changeStream": {} },
            { "$match": { "operationType": { "$in": ["insert", "update", "replace"] } } },
            // The queue of what came, or of what was given back, and none of what was taken.
            { "$project": { "queue": { "$ifNull": [
                "$fullDocument.queue", "$updateDescription.updatedFields.queue",
            ] } } },
        ],
        "cursor": {},
    };
    let (found, cursor) = Cursor::open(core, name, command).await?;
    let Some(mut cursor) = cursor else { return Ok(()) };
    core.hears.store(true, Ordering::Release);
    // What came before is not told.
    core.hub.waiters.wake_all();
    let mut found = Some(found);
    while let Some(changes) = found {
        for change in &changes {
            if let Ok(queue) = change.get_str("queue") {
                core.hub.waiters.wake_queue(queue);
            }
        }
        found = cursor.next(core).await?;
    }
    Ok(())
}

/// How long it is before another try.
const AGAIN: Duration = Duration::from_secs(5);
