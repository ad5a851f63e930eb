//! Reads what is published to fanout exchanges, for the queues that this connection has bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kombu_core::Result;
use mongodb::bson::{Bson, Document, doc};
use tokio::time::sleep;

use crate::core::Core;
use crate::cursor::Cursor;
use crate::fanout::{Broadcast, FanQueue, Id};

/// Binds a queue of this connection to a fanout exchange: it gets what is published from now on.
pub(crate) async fn bind(core: &Core, exchange: &str, queue: &str) -> Result<()> {
    let fanouts = &core.hub.fanouts;
    let _binding = fanouts.binding.lock().await;
    let all_of = [exchange.to_owned()];
    let epoch = fanouts.look();
    let there = read_all(core, &all_of).await?;
    if fanouts.reads(exchange) {
        // Those who have it get what is theirs first.
        let reached = fanouts.deliver(there, epoch, &all_of);
        wake(core, &reached);
    } else {
        fanouts.start(exchange, epoch, there.into_iter().map(|message| message.id).collect());
    }
    let own = fanouts.attach(exchange, queue);
    core.lock_fan_queues().insert(queue.into(), own);
    core.hub.beat();
    Ok(())
}

/// Reads once what a queue does not have yet.
pub(crate) async fn catch_up(core: &Core, queue: &Arc<FanQueue>) -> Result<()> {
    let fanouts = &core.hub.fanouts;
    let exchanges = fanouts.exchanges_of(std::slice::from_ref(queue));
    let epoch = fanouts.look();
    let there = read_all(core, &exchanges).await?;
    let reached = fanouts.deliver(there, epoch, &exchanges);
    wake(core, &reached);
    Ok(())
}

/// Reads for as long as the link lives.
pub(crate) async fn run(core: Arc<Core>) {
    let mut pulse = core.hub.pulse.subscribe();
    let mut pause = FIRST_PAUSE;
    loop {
        pulse.mark_unchanged();
        let exchanges = exchanges(&core);
        let found = if exchanges.is_empty() { Ok(false) } else { follow(&core, &exchanges).await };
        match found {
            Ok(true) => pause = FIRST_PAUSE,
            Ok(false) => pause = (pause * 2).min(LONGEST_PAUSE),
            Err(error) => {
                pause = LONGEST_PAUSE;
                tracing::warn!(%error, "cannot read what is published to fanout exchanges");
            }
        }
        tokio::select! {
            _lost = core.lost() => return,
            _changed = pulse.changed() => pause = FIRST_PAUSE,
            () = sleep(pause), if !exchanges.is_empty() => {}
        }
    }
}

/// Reads what is there and, as long as the server keeps the cursor open, what comes. Says whether
/// there was anything.
///
/// The cursor of a server that closes it, because the collection is empty or because it knows no
/// other, is opened again by the caller. What was read before is known by its id.
async fn follow(core: &Core, exchanges: &[String]) -> Result<bool> {
    let epoch = core.hub.fanouts.look();
    let command = doc! {
        "find": core.broadcast.name(),
        "filter": { "queue": { "$in": exchanges } },
        "tailable": true,
        "awaitData": true,
        "batchSize": BATCH,
    };
    let (found, cursor) = Cursor::open(core, core.broadcast.name(), command).await?;
    let whole = i32::try_from(found.len()).is_ok_and(|count| count < BATCH);
    let mut any = deliver(core, found, epoch, if whole { exchanges } else { &[] });
    let Some(mut cursor) = cursor else { return Ok(any) };
    loop {
        let epoch = core.hub.fanouts.look();
        let Some(found) = cursor.next(core).await? else { return Ok(any) };
        any |= deliver(core, found, epoch, &[]);
        if self::exchanges(core) != exchanges {
            cursor.close(core).await;
            // The next one is to be opened at once.
            return Ok(true);
        }
    }
}

/// Hands out what was read. Says whether any of it was new.
fn deliver(core: &Core, found: Vec<Document>, epoch: u64, all_of: &[String]) -> bool {
    let read = found.into_iter().filter_map(read).collect();
    let reached = core.hub.fanouts.deliver(read, epoch, all_of);
    wake(core, &reached);
    !reached.is_empty()
}

async fn read_all(core: &Core, exchanges: &[String]) -> Result<Vec<Broadcast>> {
    let broadcast = core.broadcast.clone();
    let filter = doc! { "queue": { "$in": exchanges } };
    core.call(async move {
        let mut cursor = broadcast.find(filter).await?;
        let mut found = Vec::new();
        while cursor.advance().await? {
            if let Ok(document) = Document::try_from(cursor.current()) {
                found.extend(read(document));
            }
        }
        Ok(found)
    })
    .await
}

fn read(mut document: Document) -> Option<Broadcast> {
    let id: Id = match document.remove("_id")? {
        Bson::ObjectId(id) => Box::new(id.bytes()),
        other => other.to_string().into_bytes().into(),
    };
    let Some(Bson::String(exchange)) = document.remove("queue") else { return None };
    let payload = match document.remove("payload") {
        Some(Bson::String(payload)) => Bytes::from(payload),
        // No envelope: who receives it is told so.
        other => Bytes::from(other.unwrap_or(Bson::Null).to_string()),
    };
    Some(Broadcast { id, exchange, payload })
}

fn exchanges(core: &Core) -> Vec<String> {
    let queues: Vec<_> = core.lock_fan_queues().values().cloned().collect();
    core.hub.fanouts.exchanges_of(&queues)
}

fn wake(core: &Core, queues: &[Arc<str>]) {
    for queue in queues {
        core.hub.waiters.wake_queue(queue);
    }
}

/// How many messages one step reads.
const BATCH: i32 = 1000;

/// The first pause before a cursor that the server closed is opened again; it doubles with each
/// one that found nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
