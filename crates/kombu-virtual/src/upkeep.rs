//! Work by the clock: renews leases, calls the store's maintenance.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::connection::Link;
use crate::lock::lock;
use crate::store::Store;

/// Renews the leases of what the connection holds, at a third of their time.
pub(crate) async fn renew<S: Store>(link: Arc<Link<S>>, lease: Duration) {
    let interval = lease / 3;
    while pause(&link, interval).await {
        let mut receipts = held_since_before(&link, lease / 6);
        while !receipts.is_empty() {
            let at = receipts.len().saturating_sub(link.features.settle_batch.max(1));
            let batch = receipts.split_off(at);
            if let Err(error) = link.store.renew(batch).await {
                tracing::warn!(%error, "leases were not renewed");
                link.judge(&error);
                // There is one more try before they end.
                break;
            }
        }
    }
}

/// Calls the store's maintenance, again and again.
pub(crate) async fn maintain<S: Store>(link: Arc<Link<S>>, between: Duration) {
    loop {
        if let Err(error) = link.store.maintain(&link.stop).await {
            tracing::warn!(%error, "maintenance failed");
            link.judge(&error);
        }
        if !pause(&link, between).await {
            return;
        }
    }
}

/// Waits; false when the connection ends.
async fn pause<S: Store>(link: &Link<S>, time: Duration) -> bool {
    tokio::select! {
        () = sleep(time) => !link.stop.is_fired(),
        () = link.stop.fired() => false,
    }
}

/// The receipts of messages that were claimed some time ago. Younger ones have more than half of
/// their lease left at the next turn.
fn held_since_before<S: Store>(link: &Link<S>, age: Duration) -> Vec<S::Receipt> {
    let now = Instant::now();
    let mut receipts = Vec::new();
    for channel in link.channels() {
        // First the backlog, whose messages move to the unsettled ones.
        for consumer in channel.consumers() {
            let backlog = lock(&consumer.backlog);
            receipts.extend(backlog.iter().filter_map(|claimed| claimed.receipt.clone()));
        }
        receipts.extend(
            lock(&channel.unsettled)
                .iter()
                .filter(|held| now.duration_since(held.since) >= age)
                .filter_map(|held| held.receipt.clone()),
        );
    }
    receipts
}
