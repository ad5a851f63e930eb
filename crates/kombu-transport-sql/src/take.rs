//! Taking messages.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use kombu_core::{Message, Properties, Result};
use kombu_virtual::{Claimed, Want, envelope};

use crate::core::Core;
use crate::session::{Arg, Cell, Column, Output, Step};
use crate::stamp;
use crate::statements::TAKEN;

/// Names a message that is held.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) id: i64,
    /// Whether it has a row in the table of ranks.
    pub(crate) ranked: bool,
}

/// Looks once at all queues of a claim.
pub(crate) async fn take(core: &Core, wants: &[Want]) -> Result<Vec<Claimed<Receipt>>> {
    let mut claimed = Vec::new();
    for want in wants {
        let Some(queue) = core.find_queue(&want.queue).await? else { continue };
        match take_from(core, want, queue).await {
            Ok(more) => claimed.extend(more),
            // What is taken is not to be dropped for what cannot be.
            Err(error) if claimed.is_empty() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, queue = &*want.queue, "cannot take messages");
                break;
            }
        }
    }
    Ok(claimed)
}

/// Whether a message waits in one of the queues.
pub(crate) async fn is_ready(core: &Core, wants: &[Want]) -> Result<bool> {
    for want in wants {
        let Some(queue) = core.find_queue(&want.queue).await? else { continue };
        let step = Step::rows(&core.statements.probe, vec![queue.into()], &[Column::Int]);
        if !core.one(&core.lanes.read, step).await?.rows.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn take_from(core: &Core, want: &Want, queue: i64) -> Result<Vec<Claimed<Receipt>>> {
    let limit = i64::try_from(limit(core, want.limit)).unwrap_or(i64::MAX);
    let mut rows = if core.statements.dialect.is_mysql() {
        look_and_take(core, queue, limit).await?
    } else {
        let (now, stamp) = (core.now(), Arg::from(core.stamp.as_str()));
        let args = [queue, now, limit, limit, queue, now, limit, limit].map(Arg::Int);
        let args = args.into_iter().chain([stamp]).collect();
        let step = Step::rows(&core.statements.claim, args, TAKEN);
        core.one(&core.lanes.claim, step).await?.rows
    };
    // Those with a priority first, each in the order of their ids.
    rows.sort_by_cached_key(|row| {
        let priority = row.get(2).map_or(0, Cell::int).max(0);
        (std::cmp::Reverse(priority), row.first().map_or(0, Cell::int))
    });
    let mut broken = Vec::new();
    let mut claimed = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows {
        let [Cell::Int(id), Cell::Int(version), Cell::Int(rank), Cell::Text(payload)] =
            <[Cell; 4]>::try_from(row).unwrap_or([
                Cell::Int(0),
                Cell::Int(0),
                Cell::Int(0),
                Cell::Int(0),
            ])
        else {
            continue;
        };
        bytes += payload.len();
        let receipt = Receipt { id, ranked: rank >= 0 };
        let message = read(&want.queue, receipt, version, payload);
        if message.broken.is_some() {
            broken.push(id);
        }
        claimed.push(message);
    }
    if let Some(average) = bytes.checked_div(claimed.len()) {
        core.size.store(average as u64, Ordering::Relaxed);
    }
    if !broken.is_empty() {
        let now = stamp::utc(core.now(), core.statements.dialect);
        let step = core.statements.set_aside(&broken, &core.stamp, &now);
        core.one(&core.lanes.claim, step).await?;
    }
    Ok(claimed)
}

/// Takes messages where that needs more than one statement: they are looked for without locks, so
/// that no row is passed over which is locked for a moment only, and then exactly those are locked.
async fn look_and_take(core: &Core, queue: i64, limit: i64) -> Result<Vec<Vec<Cell>>> {
    let statements = &core.statements;
    let args = || [queue, core.now(), limit].map(Arg::Int).to_vec();
    let looks = [
        Step::rows(&statements.look_first, args(), TAKEN),
        Step::rows(&statements.look_rest, args(), TAKEN),
    ];
    let count = usize::try_from(limit).unwrap_or(usize::MAX);
    let ids = |found: &[Output]| -> Vec<i64> {
        let rows = found.iter().flat_map(|output| &output.rows);
        rows.filter_map(|row| row.first()).take(count).map(Cell::int).collect()
    };
    let mut found = core
        .run_then(&core.lanes.claim, &looks, &|found| match found {
            [first, rest] => {
                let seen = ids(&[first.clone(), rest.clone()]);
                if seen.is_empty() { Vec::new() } else { vec![statements.guard(&seen)] }
            }
            [_, _, guarded] if !guarded.rows.is_empty() => {
                vec![statements.taken(&ids(std::slice::from_ref(guarded)), &core.stamp)]
            }
            _ => Vec::new(),
        })
        .await?
        .into_iter();
    let (first, rest) = (found.next().unwrap_or_default(), found.next().unwrap_or_default());
    let guarded = found.next().unwrap_or_default();
    // By now others may have taken them and given them back, which their versions tell.
    let taken: HashMap<i64, Cell> = guarded
        .rows
        .into_iter()
        .filter_map(|row| <[Cell; 2]>::try_from(row).ok())
        .map(|[id, version]| (id.int(), version))
        .collect();
    let mut rows: Vec<_> = first.rows.into_iter().chain(rest.rows).collect();
    rows.retain_mut(|row| {
        let [id, version, ..] = row.as_mut_slice() else { return false };
        taken.get(&id.int()).map(|now| *version = now.clone()).is_some()
    });
    Ok(rows)
}

/// How many messages to take at once, so that large ones do not fill the memory.
fn limit(core: &Core, wanted: usize) -> usize {
    let size = core.size.load(Ordering::Relaxed).max(1);
    wanted.min(usize::try_from(MOST_BYTES / size).unwrap_or(usize::MAX)).max(1)
}

/// Reads a message that was taken.
fn read(queue: &Arc<str>, receipt: Receipt, version: i64, payload: Vec<u8>) -> Claimed<Receipt> {
    match envelope::decode(&payload) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), Some(receipt), envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered || version > FIRST_DELIVERY;
            claimed
        }
        Err(error) => {
            let message = Message::new(Bytes::from(payload), Properties::new());
            // The row is nobody's: there is nothing to settle.
            let mut claimed = Claimed::new(Arc::clone(queue), None, message);
            claimed.broken = Some(format!("{error}; row {} is set aside, invisible", receipt.id));
            claimed
        }
    }
}

/// The version of a row that is taken for the first time.
const FIRST_DELIVERY: i64 = 2;

/// About how many bytes one claim brings at most.
const MOST_BYTES: u64 = 16 << 20;
