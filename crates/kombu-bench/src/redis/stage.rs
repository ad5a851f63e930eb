//! What surrounds a run on Redis.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::ClientLike as _;

use super::client::{connect, number, send};
use super::envelope;
use crate::stage::Stage;

/// A connection of its own. The database has no other unacked messages than those of the runs.
#[derive(Debug)]
pub(crate) struct RedisStage {
    client: Client,
}

impl RedisStage {
    /// Connects.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        Ok(Self { client: connect(url).await? })
    }
}

#[async_trait]
impl Stage for RedisStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.delete(queue).await
    }

    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(500);
            let mut arguments = vec![queue.into()];
            arguments.extend((0..some).map(|_| envelope::write(queue, body).into()));
            send(&self.client, "LPUSH", arguments).await?;
            left -= some;
        }
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let left = number(&send(&self.client, "LLEN", vec![queue.into()]).await?)?;
        ensure!(left == count, "{left} messages are in the queue, {count} should be");
        for (command, key) in [("HLEN", "unacked"), ("ZCARD", "unacked_index")] {
            let held = number(&send(&self.client, command, vec![key.into()]).await?)?;
            ensure!(held == 0, "{held} messages are not acknowledged");
        }
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        let keys = [queue, "unacked", "unacked_index"].map(Into::into).to_vec();
        send(&self.client, "DEL", keys).await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.client.quit().await?;
        Ok(())
    }
}
