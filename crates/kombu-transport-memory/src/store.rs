//! One connection's view of a broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::{Outcome, ServerInfo};
use kombu_core::{Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Presence, Put, Settlement, Store, StoreFeatures, Topology,
};
use tokio::time::{Instant, sleep_until};

use crate::arguments::Arguments;
use crate::broker::Broker;
use crate::queue::Waiter;
use crate::state::Receipt;

#[derive(Debug)]
pub(crate) struct MemoryStore {
    broker: Arc<Broker>,
}

impl MemoryStore {
    pub(crate) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }
}

#[async_trait]
impl Store for MemoryStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "memory"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.immediate = true;
        features.claim_forgets = true;
        features.implicit_queues = false;
        features.maintenance = Some(Duration::ZERO);
        features.longest_wait = Duration::from_secs(3600);
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.broker.topology
    }

    fn presence(&self) -> Option<Arc<Presence>> {
        Some(Arc::clone(&self.broker.presence))
    }

    fn server(&self) -> ServerInfo {
        ServerInfo::new("Kombu memory", env!("CARGO_PKG_VERSION"))
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        let arguments = Arguments::read(queue)?;
        self.broker.change(|state| state.create(queue.name(), arguments))
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        Ok(self.broker.state().has(queue))
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        self.broker.change(|state| state.delete(queue) as u64)
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        self.broker.change(|state| state.purge(queue) as u64)
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        self.broker.change(|state| state.size(queue) as u64)
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let put = |state: &mut crate::state::State| {
            batch.iter().map(|put| state.put(&put.targets.queues, &put.publish)).collect()
        };
        self.broker.change(put).unwrap_or_else(|error| vec![Err(error)])
    }

    fn put_now(&self, put: Put) -> Result<()> {
        self.broker.change(|state| state.put(&put.targets.queues, &put.publish))?
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let deadline = Instant::now() + claim.wait;
        loop {
            let waiter = Arc::new(Waiter::default());
            let claimed = self.broker.change(|state| {
                let claimed = state.claim(claim.wants);
                if claimed.is_empty() {
                    state.wait(claim.wants, &waiter);
                }
                claimed
            })?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = waiter.notify.notified() => {}
                () = claim.interrupt.fired() => {}
                () = sleep_until(deadline) => {}
            }
            self.broker.state().leave(claim.wants, &waiter);
            if claim.interrupt.is_fired() || Instant::now() >= deadline {
                return Ok(Vec::new());
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let answers = batch.iter().map(|_| Ok(())).collect();
        let settle = |state: &mut crate::state::State| {
            for settlement in batch {
                if settlement.outcome == Outcome::Requeue {
                    state.requeue(settlement);
                }
            }
        };
        match self.broker.change(settle) {
            Ok(()) => answers,
            Err(error) => answers.into_iter().map(|_: Result<()>| Err(error.duplicate())).collect(),
        }
    }

    async fn renew(&self, _: Vec<Receipt>) -> Result<()> {
        Ok(())
    }

    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        tokio::select! {
            done = self.broker.tick() => done,
            () = interrupt.fired() => Ok(()),
        }
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
