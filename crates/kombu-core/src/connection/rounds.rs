//! Making a link: rounds over all URLs, with pauses between the rounds.

use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};

use super::link::{Link, Shared, State};
use crate::error::{Error, ErrorKind, Result, Scope};
use crate::failover::{FailoverCycle, all_failed};
use crate::transport::RawConnection;
use crate::url::BrokerUrl;

/// The rounds of one connection, which remember the broker that worked last.
pub(super) struct Rounds {
    cycle: FailoverCycle,
    generation: u64,
    failed: u64,
}

impl Rounds {
    pub(super) fn new(shared: &Shared) -> Self {
        let cycle = FailoverCycle::new(shared.urls.clone(), shared.settings.failover.clone());
        Self { cycle, generation: 0, failed: 0 }
    }

    /// How often [`connect`](Self::connect) failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// Tries all URLs, round after round, as long as the policy allows. A link that was there
    /// before comes back even from refusals: a broker that starts may not know its users yet.
    pub(super) async fn connect(&mut self, shared: &Shared, lost: Option<Error>) -> Result<Link> {
        let settings = &shared.settings;
        let policy = if lost.is_some() { &settings.recovery } else { &settings.retry };
        let deadline = policy.total().and_then(|total| Instant::now().checked_add(total));
        let mut waits = policy.waits();
        if lost.is_none() {
            shared.set(State::Connecting { last: None });
        }
        loop {
            let error = match self.round(shared).await {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            let may_pass = lost.is_some() || error.is_recoverable();
            let wait = waits.next().filter(|wait| {
                may_pass && deadline.is_none_or(|deadline| Instant::now() + *wait < deadline)
            });
            let Some(wait) = wait else {
                self.failed += 1;
                return Err(error.during("connect"));
            };
            tracing::info!(%error, ?wait, "no broker answered, trying again");
            shared.set(State::Connecting { last: Some(Arc::new(error)) });
            sleep(wait).await;
        }
    }

    /// Tries every URL once.
    async fn round(&mut self, shared: &Shared) -> Result<Link> {
        let mut failures = Vec::new();
        for url in self.cycle.next_round() {
            match attempt(shared, &url).await {
                Ok(raw) => {
                    self.cycle.succeeded(&url);
                    self.generation += 1;
                    let generation = self.generation;
                    tracing::debug!(%url, generation, "connected");
                    return Ok(Link { generation, raw, url: Arc::from(url.to_string()) });
                }
                Err(error) => failures.push((url, error)),
            }
        }
        Err(all_failed(failures))
    }
}

/// Connects to one URL, and declares there what was declared before.
async fn attempt(shared: &Shared, url: &BrokerUrl) -> Result<Arc<dyn RawConnection>> {
    let transport = shared.registry.find(url.full_scheme())?;
    let params = shared.settings.params(url)?;
    let give_up = params.connection.connect_timeout;
    let raw = timeout(give_up, transport.connect(&params)).await.map_err(|_| {
        Error::new(ErrorKind::Timeout, format!("no answer within {give_up:?}"))
            .scoped(Scope::Connection)
    })??;
    let redeclared = timeout(shared.settings.operation_timeout, shared.topology.redeclare(&*raw))
        .await
        .map_err(|_| Error::lost("declaring again took too long"))
        .flatten();
    if let Err(error) = redeclared {
        drop(timeout(give_up, raw.close()).await);
        return Err(error);
    }
    Ok(raw)
}
