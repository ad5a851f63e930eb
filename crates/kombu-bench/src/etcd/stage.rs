//! What surrounds a run on etcd.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use etcd_client::{Client, CompactionOptions, DeleteOptions, GetOptions, Txn};

use super::raw::{connect, keys, write};
use crate::stage::Stage;

/// A connection of its own.
pub(crate) struct EtcdStage {
    client: Client,
}

impl EtcdStage {
    /// Connects.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        Ok(Self { client: connect(url).await? })
    }
}

impl std::fmt::Debug for EtcdStage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EtcdStage")
    }
}

#[async_trait]
impl Stage for EtcdStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.delete(queue).await?;
        let marker = format!("kombu/queues/{queue}");
        let put = self.client.kv_client().put(marker, "", None).await?;
        // What went before is no burden of the next run.
        if let Some(header) = put.header() {
            let physical = CompactionOptions::new().with_physical();
            let _already = self.client.kv_client().compact(header.revision(), Some(physical)).await;
        }
        Ok(())
    }

    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let some = left.min(50);
            let messages: Vec<_> = (0..some).flat_map(|_| write(queue, body)).collect();
            self.client.kv_client().txn(Txn::new().and_then(messages)).await?;
            left -= some;
        }
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let (index, _) = keys(queue);
        let claims = format!("kombu/index/{queue}/c/");
        for (prefix, wanted) in [(index, count), (claims, 0)] {
            let options = GetOptions::new().with_prefix().with_count_only();
            let found = self.client.kv_client().get(prefix, Some(options)).await?.count();
            ensure!(u64::try_from(found)? == wanted, "{found} messages, {wanted} should be");
        }
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        for prefix in ["index", "bodies"] {
            let below = DeleteOptions::new().with_prefix();
            let prefix = format!("kombu/{prefix}/{queue}/");
            self.client.kv_client().delete(prefix, Some(below)).await?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
