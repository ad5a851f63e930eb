//! What lost sessions leave: claims, which go back to their queues when the next connection is
//! made, before it takes any.

use std::sync::Mutex;

use kombu_core::Result;
use tokio::time::{Duration, Instant};

use crate::core::Core;
use crate::lock::lock;

/// The owners that were lost by one transport value.
#[derive(Debug, Default)]
pub(crate) struct Estates {
    left: Mutex<Vec<(String, Instant)>>,
}

impl Estates {
    /// Notes an owner whose link is lost.
    pub(crate) fn leave(&self, owner: String) {
        lock(&self.left).push((owner, Instant::now() + KEPT));
    }

    /// Gives back what lost owners held, as far as it is on this ensemble.
    pub(crate) async fn settle(&self, core: &Core) -> Result<()> {
        let owners: Vec<_> = {
            let mut left = lock(&self.left);
            left.retain(|(_, until)| *until > Instant::now());
            left.iter().map(|(owner, _)| owner.clone()).collect()
        };
        if owners.is_empty() {
            return Ok(());
        }
        core.catch_up().await?;
        for owner in owners {
            if core.inherit(&owner).await? {
                lock(&self.left).retain(|(other, _)| *other != owner);
            }
        }
        Ok(())
    }
}

/// By then its session has ended, and others have given back what it held.
const KEPT: Duration = Duration::from_secs(120);
