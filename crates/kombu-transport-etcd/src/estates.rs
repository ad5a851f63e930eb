//! What lost links leave: leases, which are revoked when the next connection is made, so that
//! their claims go.

use std::sync::Mutex;

use kombu_core::{ErrorKind, Result, Scope};
use tokio::time::{Duration, Instant};

use crate::core::Core;
use crate::lock::lock;

/// The leases that one transport value lost.
#[derive(Debug, Default)]
pub(crate) struct Estates {
    left: Mutex<Vec<(i64, Instant)>>,
}

impl Estates {
    /// Notes the lease of a link that is lost.
    pub(crate) fn leave(&self, lease: i64) {
        lock(&self.left).push((lease, Instant::now() + KEPT));
    }

    /// Revokes the leases of lost links, as far as they are of this cluster.
    pub(crate) async fn settle(&self, core: &Core) -> Result<()> {
        let leases: Vec<_> = {
            let mut left = lock(&self.left);
            left.retain(|(_, until)| *until > Instant::now());
            left.iter().map(|(lease, _)| *lease).collect()
        };
        for lease in leases {
            match core.revoke(lease).await {
                Ok(()) => lock(&self.left).retain(|(other, _)| *other != lease),
                // Over, or another cluster's.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.scope() == Scope::Connection => return Err(error),
                Err(error) => tracing::warn!(%error, "the lease of a lost link was not revoked"),
            }
        }
        Ok(())
    }
}

/// By then the lease has ended by itself.
const KEPT: Duration = Duration::from_secs(120);
