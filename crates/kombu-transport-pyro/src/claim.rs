//! Takes messages, and waits for some.

use std::sync::Arc;

use futures_util::future::join_all;
use kombu_core::{Result, Scope};
use kombu_virtual::{Claim, Claimed, Want};
use tokio::time::{Duration, Instant, sleep, sleep_until};

use crate::message::{self, Receipt};
use crate::store::PyroStore;

impl PyroStore {
    /// Takes messages, or looks again and again until there are some: the daemon cannot wait.
    pub(crate) async fn take_or_wait(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let deadline = Instant::now() + claim.wait;
        let mut pause = SHORTEST;
        // Before the first look, so that no arrival is missed.
        let mut arrivals = self.link.shared().arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let claimed = self.take(claim.wants).await?;
            if !claimed.is_empty() || claim.wait.is_zero() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                lost = self.link.lost() => return Err(lost),
                () = sleep_until(deadline) => return Ok(claimed),
                _from_here = arrivals.changed() => {}
                () = sleep(pause) => pause = (pause * 2).min(LONGEST),
            }
        }
    }

    async fn take(&self, wants: &[Want]) -> Result<Vec<Claimed<Receipt>>> {
        // Asking first takes nothing out that could be lost on its way, and an empty queue would
        // answer with an exception.
        let sizes: Vec<_> = wants.iter().map(|want| self.link.size(&want.queue)).collect();
        let mut claimed = Vec::new();
        for (want, size) in wants.iter().zip(join_all(sizes).await) {
            let size = usize::try_from(size?.unwrap_or_default()).unwrap_or(usize::MAX);
            self.take_from(want, want.limit.min(size), &mut claimed).await?;
        }
        Ok(claimed)
    }

    /// Takes up to so many messages out of a queue.
    async fn take_from(
        &self,
        want: &Want,
        mut left: usize,
        claimed: &mut Vec<Claimed<Receipt>>,
    ) -> Result<()> {
        let mut bytes = 0;
        while left > 0 && bytes < MOST_BYTES {
            let part = left.min(PART);
            left -= part;
            let takes: Vec<_> = (0..part).map(|_| self.link.take(&want.queue)).collect();
            for taken in join_all(takes).await {
                match taken {
                    Ok(Some((number, data))) => {
                        bytes += data.len();
                        let receipt = (!want.no_ack).then_some(Receipt(number));
                        // One that is not held any more goes back with the next link.
                        if want.no_ack && self.link.release(number).is_none() {
                            continue;
                        }
                        claimed.push(message::read(&Arc::clone(&want.queue), receipt, data));
                    }
                    // Others were faster.
                    Ok(None) => left = 0,
                    Err(error) if error.scope() == Scope::Connection => return Err(error),
                    Err(error) => {
                        tracing::error!(%error, queue = &*want.queue, "the daemon lost a message");
                    }
                }
            }
        }
        Ok(())
    }
}

/// How many messages are asked for at a time, and about how many bytes are enough.
const PART: usize = 50;
const MOST_BYTES: usize = 4 << 20;

/// The first pause between two looks at queues that are empty; it doubles up to the longest one.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(100);
