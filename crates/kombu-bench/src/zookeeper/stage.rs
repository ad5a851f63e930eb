//! What surrounds a run on ZooKeeper.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use zookeeper_client::{Client, CreateMode};

use super::client::{connect, delete, list, make, node};
use crate::redis::envelope;
use crate::stage::Stage;

/// A session of its own.
#[derive(Debug)]
pub(crate) struct ZooKeeperStage {
    client: Client,
}

impl ZooKeeperStage {
    /// Connects.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        Ok(Self { client: connect(url).await? })
    }
}

#[async_trait]
impl Stage for ZooKeeperStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.delete(queue).await?;
        make(&self.client, &format!("/{queue}")).await
    }

    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        let path = format!("/{queue}/entry-009-");
        let sequential = node(CreateMode::PersistentSequential);
        let mut left = count;
        while left > 0 {
            let some = left.min(500);
            let creations: Vec<_> = (0..some)
                .map(|_| {
                    let data = envelope::write(queue, body);
                    self.client.create(&path, data.as_bytes(), &sequential)
                })
                .collect();
            for creation in creations {
                creation.await?;
            }
            left -= some;
        }
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let left = list(&self.client, &format!("/{queue}")).await?.len();
        ensure!(
            u64::try_from(left)? == count,
            "{left} messages are in the queue, {count} should be"
        );
        for owner in list(&self.client, "/_kombu/claims").await? {
            let held = list(&self.client, &format!("/_kombu/claims/{owner}")).await?.len();
            ensure!(held == 0, "{held} messages are not acknowledged");
        }
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        delete(&self.client, &format!("/{queue}")).await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
