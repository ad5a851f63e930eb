//! Keeps the holder alive, and gives back what dead ones held.

use std::time::Duration;

use kombu_core::Result;

use crate::core::Core;
use crate::put::notice_all;
use crate::session::{Column, Step};
use crate::settle::still_there;
use crate::shared::Estate;
use crate::stamp;

/// How often there is something to do.
pub(crate) fn interval(core: &Core) -> Duration {
    (core.options.visibility_timeout / 3).min(Duration::from_secs(5))
}

/// Says that this connection lives.
pub(crate) async fn stay_alive(core: &Core) -> Result<()> {
    core.ask_clock().await?;
    let args = vec![core.lease_end().into(), core.holder.into()];
    let keep = Step::new(&core.statements.keep_holder, args);
    if core.one(&core.lanes.write, keep).await?.affected == 0 {
        still_there(core).await?;
    }
    Ok(())
}

/// Looks for what dead holders held, for messages whose time is over, and for what is left of
/// messages that are gone. Nothing is written unless there is something to do.
pub(crate) async fn clean(core: &Core) -> Result<()> {
    // The times before the holders: a time that stands for none of them then stands for one that
    // is gone, and for none that is new.
    let stamps = read(core, Step::rows(&core.statements.stamps, Vec::new(), &[Column::Text]));
    let stamps = stamps.await?;
    let holders = Step::rows(&core.statements.holders, Vec::new(), &[Column::Int, Column::Int]);
    let holders: Vec<(i64, i64)> = read(core, holders)
        .await?
        .iter()
        .filter_map(|row| Some((row.first()?.int(), row.get(1)?.int())))
        .collect();
    let now = core.now();
    let mut dead: Vec<i64> = holders
        .iter()
        .filter(|(holder, expires)| *expires < now && *holder != core.holder)
        .map(|(holder, _)| *holder)
        .collect();
    let standing = stamps.iter().filter_map(|row| stamp::read(&row.first()?.text()));
    dead.extend(standing.filter(|holder| !holders.iter().any(|(known, _)| known == holder)));
    for holder in dead {
        let given = give_back(core, holder).await?;
        if given > 0 {
            tracing::info!(given, "messages of a dead consumer went back to their queues");
        }
    }
    let expired = Step::rows(&core.statements.expired, vec![now.into()], &[Column::Int]);
    if !read(core, expired).await?.is_empty() {
        drop_expired(core).await?;
    }
    if let Some(after) = core.options.clean_after {
        let after = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        let before = stamp::utc(now.saturating_sub(after).max(0), core.statements.dialect);
        let drop = Step::new(&core.statements.drop_settled, vec![before.into()]);
        core.one(&core.lanes.write, drop).await?;
    }
    Ok(())
}

/// Drops waiting messages whose time is over, and what is left of messages that are gone.
pub(crate) async fn drop_expired(core: &Core) -> Result<()> {
    let steps = [
        Step::new(&core.statements.drop_expired, vec![core.now().into()]),
        Step::new(&core.statements.drop_stale_ranks, Vec::new()),
    ];
    Ok(core.run(&core.lanes.write, &steps).await.map(drop)?)
}

/// Gives back what a lost connection of this process held, after its server ended what it was
/// still doing.
pub(crate) async fn inherit(core: &Core, estate: &Estate) -> Result<()> {
    for number in &estate.numbers {
        let Some(step) = core.statements.end_connection(*number) else { continue };
        // It is gone already, or of another server.
        if let Err(failure) = core.one(&core.lanes.write, step).await {
            tracing::debug!(error = %failure.error, "a lost connection was not ended");
        }
    }
    give_back(core, estate.holder).await.map(drop)
}

/// Gives back what a holder has, forgets it, and says how many messages those were.
pub(crate) async fn give_back(core: &Core, holder: i64) -> Result<u64> {
    let stamp = stamp::of(holder, core.statements.dialect);
    let mut steps = vec![
        Step::new(&core.statements.give_back, vec![stamp.into()]),
        Step::new(&core.statements.drop_holder, vec![holder.into()]),
    ];
    steps.extend(notice_all(core));
    let outputs = core.run(&core.lanes.write, &steps).await?;
    let given = outputs.first().map_or(0, |output| output.affected);
    if given > 0 {
        core.shared.waiters.wake_all();
    }
    Ok(given)
}

async fn read(core: &Core, step: Step) -> Result<Vec<Vec<crate::session::Cell>>> {
    Ok(core.one(&core.lanes.read, step).await?.rows)
}
