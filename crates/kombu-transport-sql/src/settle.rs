//! Settling messages that are held.

use std::sync::Arc;

use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;

use crate::core::Core;
use crate::put::notice;
use crate::session::{Column, Step};
use crate::stamp;
use crate::take::Receipt;

/// Settles a batch in one transaction; an error is that of all.
pub(crate) async fn settle(core: &Core, batch: &[Settlement<Receipt>]) -> Result<()> {
    let of = |outcome: fn(&Settlement<Receipt>) -> bool| -> Vec<i64> {
        batch.iter().filter(|one| outcome(one)).map(|one| one.receipt.id).collect()
    };
    let back = |one: &Settlement<Receipt>| one.outcome == Outcome::Requeue;
    let gone = of(|one| one.outcome != Outcome::Requeue);
    let delivered = of(|one| one.outcome == Outcome::Requeue && one.delivered);
    let unseen = of(|one| one.outcome == Outcome::Requeue && !one.delivered);
    let statements = &core.statements;
    let mut steps = Vec::new();
    if !gone.is_empty() {
        let now = core.options.keep_acked.then(|| stamp::utc(core.now(), statements.dialect));
        steps.push(statements.settled(&gone, &core.stamp, now.as_deref()));
    }
    for (ids, delivered) in [(&delivered, true), (&unseen, false)] {
        if !ids.is_empty() {
            steps.push(statements.returned(ids, &core.stamp, delivered));
        }
    }
    let changes = steps.len();
    let ranked = of(|one| one.outcome != Outcome::Requeue && one.receipt.ranked);
    if !ranked.is_empty() {
        steps.push(statements.unranked(&ranked));
    }
    let mut queues: Vec<Arc<str>> = Vec::new();
    for one in batch.iter().filter(|one| back(one)) {
        if !queues.contains(&one.queue) {
            queues.push(Arc::clone(&one.queue));
        }
    }
    steps.extend(notice(core, &queues));
    let outputs = core.run(&core.lanes.claim, &steps).await?;
    for queue in queues {
        core.shared.waiters.wake_queue(&queue);
    }
    let changed: u64 = outputs.iter().take(changes).map(|output| output.affected).sum();
    if changed < batch.len() as u64 {
        still_there(core).await?;
    }
    Ok(())
}

/// Fails if others took this connection for dead and gave back what it held. Rows may also be gone
/// with their queue, which is no matter.
pub(crate) async fn still_there(core: &Core) -> Result<()> {
    let find = Step::rows(&core.statements.find_holder, vec![core.holder.into()], &[Column::Int]);
    if !core.one(&core.lanes.claim, find).await?.rows.is_empty() {
        return Ok(());
    }
    let timeout = core.options.visibility_timeout;
    core.lose(format!(
        "the connection gave no sign of life for {timeout:?}, and its messages went back"
    ));
    Err(Error::new(
        ErrorKind::StaleDelivery,
        "the connection was taken for dead, and its messages went back to their queues",
    ))
}
