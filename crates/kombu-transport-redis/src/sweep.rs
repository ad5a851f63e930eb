//! Gives back what others left unacked: those of Kombu, and those that were killed.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kombu_core::Result;
use kombu_virtual::{Interrupt, envelope};
use uuid::Uuid;

use crate::core::Core;
use crate::record::{self, Record};
use crate::scripts::{DUE, RELEASE, RESTORE, number};
use crate::topology::RedisTopology;

/// A record on its way back.
#[derive(Debug)]
pub(crate) struct Return {
    pub(crate) tag: Bytes,
    /// The score that it must still have.
    pub(crate) score: Bytes,
    /// Another score that will do; empty for none.
    pub(crate) other_score: Bytes,
    pub(crate) envelope: Bytes,
    /// Its place in the order of taking, if this connection took it.
    pub(crate) number: Option<u64>,
    pub(crate) lists: Vec<Bytes>,
}

/// Moves records back to the heads of lists, in this order, and says how many were still there.
pub(crate) async fn restore(
    core: &Core,
    unacked: Bytes,
    index: Bytes,
    returns: &[Return],
) -> Result<u64> {
    let mut moved = 0;
    for part in returns.chunks(PAGE) {
        let mut keys = vec![unacked.clone(), index.clone()];
        let ordered = part.iter().any(|back| back.number.is_some());
        let before = if ordered { core.ledger.returned() } else { Vec::new() };
        let mut arguments = Vec::with_capacity(1 + before.len() * 2 + part.len() * 7);
        arguments.push(number(before.len()));
        for (tag, place) in before {
            arguments.extend([tag, padded(place)]);
        }
        for back in part {
            arguments.extend([
                back.tag.clone(),
                back.score.clone(),
                back.other_score.clone(),
                back.envelope.clone(),
                back.number.map(padded).unwrap_or_default(),
                number(back.lists.len()),
            ]);
            for list in &back.lists {
                let at = keys.iter().position(|key| key == list).unwrap_or_else(|| {
                    keys.push(list.clone());
                    keys.len() - 1
                });
                arguments.push(number(at + 1));
            }
        }
        // Before they can come again.
        let ordered = part.iter().filter_map(|back| Some((back.tag.clone(), back.number?)));
        core.ledger.note_returned(ordered);
        moved += core.run(RESTORE, &keys, arguments).await?.into_count()?;
    }
    Ok(moved)
}

/// Looks for abandoned messages once.
pub(crate) async fn sweep(
    core: &Core,
    topology: &RedisTopology,
    interrupt: &Interrupt,
) -> Result<()> {
    let mut queues = core.claimed();
    if !core.keys.is_cluster() {
        // All queues share their keys.
        queues.truncate(1);
    }
    for queue in queues {
        let mutex = core.keys.unacked_mutex(&queue);
        let token = Bytes::from(Uuid::new_v4().simple().to_string());
        let expire = number(core.options.unacked_mutex_expire.as_millis().max(1));
        let [nx, px] = [Bytes::from_static(b"NX"), Bytes::from_static(b"PX")];
        let taken = core.call("SET", vec![mutex.clone(), token.clone(), nx, px, expire]).await?;
        let taken = taken.into_bytes()?.is_some();
        // The mutex only spares others work done twice. A holder that died keeps nobody from
        // messages for minutes.
        if !taken && core.mutex_was_held.fetch_add(1, Ordering::Relaxed) < PATIENCE {
            continue;
        }
        core.mutex_was_held.store(0, Ordering::Relaxed);
        let swept = sweep_queue(core, topology, &queue, interrupt).await;
        if taken {
            core.run(RELEASE, &[mutex], [token]).await?;
        }
        let moved = swept?;
        if moved > 0 {
            tracing::info!(moved, "abandoned messages went back to their queues");
        }
    }
    Ok(())
}

async fn sweep_queue(
    core: &Core,
    topology: &RedisTopology,
    queue: &str,
    interrupt: &Interrupt,
) -> Result<u64> {
    let (unacked, index) = (core.keys.unacked(queue), core.keys.unacked_index(queue));
    let limit = core.options.restore_limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    let timeout = Bytes::from(core.options.visibility_timeout.as_secs_f64().to_string());
    let (mut moved, mut left) = (0, 0);
    while moved < limit && !interrupt.is_fired() {
        let page = (PAGE as u64).min(limit - moved);
        let arguments = [timeout.clone(), number(left), number(page)];
        let due = core.run(DUE, &[unacked.clone(), index.clone()], arguments).await?;
        let due = due.into_list()?;
        let found = (due.len() / 3) as u64;
        let own: HashSet<_> = core.ledger.all().iter().map(|held| held.tag.clone()).collect();
        let mut returns = Vec::new();
        let mut due = due.into_iter();
        while let (Some(tag), Some(score), Some(stored)) = (due.next(), due.next(), due.next()) {
            let tag = tag.into_bytes()?.unwrap_or_default();
            // Late in being renewed, but not abandoned.
            if own.contains(&tag) {
                continue;
            }
            let score = score.into_bytes()?.unwrap_or_default();
            if let Some(back) = give_back(core, topology, tag, score, stored.into_bytes()?).await? {
                returns.push(back);
            }
        }
        let done = restore(core, unacked.clone(), index.clone(), &returns).await?;
        moved += done;
        left += found.saturating_sub(done);
        if found < page {
            break;
        }
    }
    Ok(moved)
}

/// Where a record goes; none if it is to be left alone.
async fn give_back(
    core: &Core,
    topology: &RedisTopology,
    tag: Bytes,
    score: Bytes,
    stored: Option<Bytes>,
) -> Result<Option<Return>> {
    let other_score = Bytes::new();
    let Some(stored) = stored else {
        // A time without a message: nothing to lose.
        let (envelope, lists) = (Bytes::new(), Vec::new());
        return Ok(Some(Return { tag, score, other_score, envelope, number: None, lists }));
    };
    let Some(Record { envelope, exchange, routing_key }) = record::read(&stored) else {
        tracing::warn!(tag = %String::from_utf8_lossy(&tag), "an unacked message cannot be read");
        return Ok(None);
    };
    let queues = topology.targets(&exchange, &routing_key).await?;
    if queues.is_empty() {
        tracing::debug!(exchange, routing_key, "an abandoned message has no queue to go to");
        return Ok(None);
    }
    let priority =
        envelope::decode(&envelope).map_or(0, |envelope| envelope.message.properties.priority);
    let step = core.keys.step_of(priority);
    let lists = queues.iter().map(|queue| core.keys.list(queue, step)).collect();
    let envelope = record::mark_redelivered(&envelope);
    Ok(Some(Return { tag, score, other_score, envelope, number: None, lists }))
}

/// A number whose texts sort as the numbers do.
fn padded(number: u64) -> Bytes {
    Bytes::from(format!("{number:020}"))
}

/// How many records are moved in one step.
const PAGE: usize = 200;

/// How often in a row a look is left to whoever holds the mutex.
const PATIENCE: u32 = 3;
