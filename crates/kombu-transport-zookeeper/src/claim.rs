//! Takes messages, and waits for some.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use kombu_core::{Message, Properties, Result};
use kombu_virtual::envelope;
use kombu_virtual::{Claim, Claimed, Want};
use tokio::time::{Instant, sleep_until};
use zookeeper_client::{CreateMode, Error as Zk, MultiWriteError};

use crate::error::error;
use crate::layout::{self, CLAIMS};
use crate::store::{Receipt, ZooKeeperStore};
use crate::view::View;

impl ZooKeeperStore {
    /// Takes messages, or waits until there are some.
    pub(crate) async fn take_or_wait(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let deadline = Instant::now() + claim.wait;
        // Before the first look, so that no arrival is missed.
        let mut arrivals = self.views.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let mut claimed = Vec::new();
            for want in claim.wants {
                self.take(want, &mut claimed).await?;
            }
            if claim.wait.is_zero() && claimed.is_empty() {
                self.look_again(claim.wants, &mut claimed).await?;
                return Ok(claimed);
            }
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                () = sleep_until(deadline) => return Ok(claimed),
                _arrival = arrivals.changed() => {}
                lost = self.core.lost() => return Err(lost),
            }
        }
    }

    /// What others were confirmed a moment ago may not have been told here yet.
    async fn look_again(&self, wants: &[Want], into: &mut Vec<Claimed<Receipt>>) -> Result<()> {
        self.core.catch_up().await?;
        for want in wants {
            self.views.get(&self.core, &want.queue).await?.refresh(&self.core).await?;
            self.take(want, into).await?;
        }
        Ok(())
    }

    /// Takes what is known to wait in a queue, up to the limit.
    async fn take(&self, want: &Want, into: &mut Vec<Claimed<Receipt>>) -> Result<()> {
        let view = self.views.get(&self.core, &want.queue).await?;
        let (mut left, mut bytes) = (want.limit, 0);
        while left > 0 && bytes < MOST_BYTES {
            let names = view.pop(left.min(PART));
            if names.is_empty() {
                break;
            }
            let found = match self.read(&view, &names).await {
                Ok(found) => found,
                Err(refused) => {
                    view.put_back(names);
                    return Err(refused);
                }
            };
            for (name, data) in self.record(&view, want, found).await? {
                left -= 1;
                bytes += data.len();
                let receipt =
                    (!want.no_ack).then(|| Receipt(layout::claim(&want.queue, &name).into()));
                into.push(message(&want.queue, receipt, data.into()));
            }
        }
        Ok(())
    }

    /// Reads messages; those that are gone are left out.
    async fn read(&self, view: &View, names: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
        self.core.alive()?;
        let client = &self.core.client;
        let reads: Vec<_> = names
            .iter()
            .map(|name| self.core.ask(client.get_data(&format!("{}/{name}", view.path))))
            .collect();
        let mut found = Vec::with_capacity(names.len());
        for (name, read) in names.iter().zip(join_all(reads).await) {
            match read? {
                Ok((data, _)) => found.push((name.clone(), data)),
                Err(Zk::NoNode) => {}
                Err(refused) => return Err(error(refused)),
            }
        }
        Ok(found)
    }

    /// Takes messages out of their queue and records them as this owner's, each in one step; those
    /// that somebody else has taken are left out.
    async fn record(
        &self,
        view: &View,
        want: &Want,
        found: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<(String, Vec<u8>)>> {
        let core = &self.core;
        let node = core.access.node(CreateMode::Persistent);
        let mut steps = Vec::with_capacity(found.len());
        for (name, data) in &found {
            let mut step = core.client.new_multi_writer();
            step.add_delete(&format!("{}/{name}", view.path), None).map_err(error)?;
            if !want.no_ack {
                let claim = layout::claim(&want.queue, name);
                let path = format!("{CLAIMS}/{}/{claim}", core.owner);
                step.add_create(&path, data, &node).map_err(error)?;
            }
            steps.push(core.ask(step.commit()));
        }
        let mut taken = Vec::with_capacity(found.len());
        let mut failure = None;
        for (message, step) in found.into_iter().zip(join_all(steps).await) {
            match step? {
                Ok(_) => taken.push(message),
                Err(MultiWriteError::OperationFailed { index: 0, source: Zk::NoNode }) => {}
                Err(refused) => {
                    view.put_back([message.0]);
                    failure = Some(error(refused.into()));
                }
            }
        }
        match failure {
            Some(failure) if taken.is_empty() => Err(failure),
            _ => Ok(taken),
        }
    }
}

/// Reads a message that was taken.
fn message(queue: &Arc<str>, receipt: Option<Receipt>, stored: Bytes) -> Claimed<Receipt> {
    match envelope::decode(&stored) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered;
            claimed
        }
        Err(error) => {
            let message = Message::new(stored, Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, message);
            claimed.broken = Some(error.to_string());
            claimed
        }
    }
}

/// How many messages are taken at a time: all are in memory, and others who take from the same
/// queue read them in vain.
const PART: usize = 50;

/// The most bytes of messages that one claim takes from a queue, beside a last part.
const MOST_BYTES: usize = 4 << 20;
