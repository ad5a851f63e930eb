//! Claims of those who died, or are lost.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use kombu_core::{ErrorKind, Result};
use kombu_virtual::{Interrupt, envelope};
use tokio::time::{Duration, sleep};
use zookeeper_client::{CreateMode, Error as Zk, MultiWriteError};

use crate::core::Core;
use crate::error::error;
use crate::layout::{self, CLAIMS, OWNERS};

impl Core {
    /// Waits until an owner may have died, and gives back what the dead held.
    pub(crate) async fn look_after(&self, interrupt: &Interrupt) -> Result<()> {
        self.bury_the_dead().await?;
        tokio::select! {
            () = self.deaths.notified() => self.bury_the_dead().await,
            () = interrupt.fired() => Ok(()),
            // For folders that could not be emptied at their owner's death.
            () = sleep(LOOK) => Ok(()),
        }
    }

    async fn bury_the_dead(&self) -> Result<()> {
        // Claims first: whoever has some was an owner before.
        let claims = self.call(self.client.list_children(CLAIMS)).await?;
        let owners = self.call(self.client.list_children(OWNERS)).await?;
        let owners: HashSet<_> = owners.into_iter().collect();
        for dead in claims.into_iter().filter(|owner| !owners.contains(owner)) {
            match self.inherit(&dead).await {
                Ok(true) => tracing::info!(owner = dead, "gave back what a dead connection held"),
                Ok(false) => {}
                // Of somebody with whom no queue is shared.
                Err(error) if error.kind() == ErrorKind::AccessRefused => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives back what an owner held; false if it never was on this ensemble. Afterwards it can
    /// claim nothing more, even if it lives.
    pub(crate) async fn inherit(&self, owner: &str) -> Result<bool> {
        let node = format!("{OWNERS}/{owner}");
        let announced = self.ask(self.client.delete(&node, None)).await?;
        let folder = format!("{CLAIMS}/{owner}");
        let mut known = announced.is_ok();
        loop {
            let mut names = match self.ask(self.client.list_children(&folder)).await? {
                Ok(names) => names,
                Err(Zk::NoNode) => return Ok(known),
                Err(refused) => return Err(error(refused)),
            };
            known = true;
            names.sort_unstable();
            for part in names.chunks(PART) {
                let backs = part.iter().map(|name| self.give_back(owner, name, true));
                for back in join_all(backs).await {
                    back?;
                }
            }
            match self.ask(self.client.delete(&folder, None)).await? {
                Ok(()) | Err(Zk::NoNode) => return Ok(true),
                // It claimed something meanwhile.
                Err(Zk::NotEmpty) => {}
                Err(refused) => return Err(error(refused)),
            }
        }
    }

    /// Puts a claimed message back to where it was; false if the claim is gone.
    pub(crate) async fn give_back(&self, owner: &str, name: &str, mark: bool) -> Result<bool> {
        let claim = format!("{CLAIMS}/{owner}/{name}");
        let Some((queue, entry)) = layout::read_claim(name) else {
            // Nothing of this transport.
            return self.drop_claim(&claim).await;
        };
        let (data, _) = match self.ask(self.client.get_data(&claim)).await? {
            Ok(read) => read,
            Err(Zk::NoNode) => return Ok(false),
            Err(refused) => return Err(error(refused)),
        };
        let data = if mark { mark_redelivered(data) } else { data };
        let queue = layout::queue(&queue)?;
        let mut place = format!("{queue}/{entry}");
        let mut mode = CreateMode::Persistent;
        loop {
            let node = self.access.node(mode);
            let mut writer = self.client.new_multi_writer();
            writer.add_delete(&claim, None).map_err(error)?;
            writer.add_create(&place, &data, &node).map_err(error)?;
            match self.ask(writer.commit()).await? {
                Ok(_) => return Ok(true),
                Err(MultiWriteError::OperationFailed { index: 0, source: Zk::NoNode }) => {
                    return Ok(false);
                }
                // As in AMQP, what was held goes with its queue.
                Err(MultiWriteError::OperationFailed { source: Zk::NoNode, .. }) => {
                    return self.drop_claim(&claim).await;
                }
                // The queue was made anew, and counts from 0 again.
                Err(MultiWriteError::OperationFailed { source: Zk::NodeExists, .. })
                    if mode == CreateMode::Persistent =>
                {
                    let priority = entry.get(..entry.rfind('-').unwrap_or(0)).unwrap_or_default();
                    place = format!("{queue}/{priority}-");
                    mode = CreateMode::PersistentSequential;
                }
                Err(refused) => return Err(error(refused.into())),
            }
        }
    }

    /// Forgets a claim; false if it is gone.
    pub(crate) async fn drop_claim(&self, claim: &str) -> Result<bool> {
        match self.ask(self.client.delete(claim, None)).await? {
            Ok(()) => Ok(true),
            Err(Zk::NoNode) => Ok(false),
            Err(refused) => Err(error(refused)),
        }
    }

    /// Forgets all claims of messages of a queue.
    pub(crate) async fn drop_claims_of(&self, queue: &Arc<str>) -> Result<()> {
        for owner in self.call(self.client.list_children(CLAIMS)).await? {
            let folder = format!("{CLAIMS}/{owner}");
            let names = match self.ask(self.client.list_children(&folder)).await? {
                Ok(names) => names,
                // Gone, or of somebody with whom no queue is shared.
                Err(Zk::NoNode | Zk::NoAuth) => continue,
                Err(refused) => return Err(error(refused)),
            };
            for name in names {
                if layout::read_claim(&name).is_some_and(|(of, _)| *of == **queue) {
                    self.drop_claim(&format!("{folder}/{name}")).await?;
                }
            }
        }
        Ok(())
    }
}

/// Marks an envelope as delivered before, where Kombu does for this transport: at its end.
fn mark_redelivered(mut data: Vec<u8>) -> Vec<u8> {
    let marked = envelope::decode(&data).is_ok_and(|envelope| envelope.redelivered);
    if !marked && let Some(end) = data.iter().rposition(|byte| *byte == b'}') {
        let comma = data.get(..end).is_some_and(|before| before.contains(&b':'));
        let mark = if comma { ", \"redelivered\": true" } else { "\"redelivered\": true" };
        data.splice(end..end, mark.bytes());
    }
    data
}

/// How many messages go back at a time.
const PART: usize = 100;

/// The time between two looks for dead owners of whose death nobody told.
const LOOK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_put_once_at_the_end() {
        let marked = mark_redelivered(br#"{"body": "", "properties": {}}"#.to_vec());
        assert_eq!(
            String::from_utf8_lossy(&marked),
            r#"{"body": "", "properties": {}, "redelivered": true}"#
        );
        assert_eq!(mark_redelivered(marked.clone()), marked);
        assert_eq!(mark_redelivered(b"rubbish".to_vec()), b"rubbish");
    }
}
