//! One connection's view of the queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Put, Settlement, SharedTopology, Store, StoreFeatures, Topology,
};
use zookeeper_client::Error as Zk;

use crate::core::Core;
use crate::error::error;
use crate::layout::{self, ENTRY};
use crate::records::Records;
use crate::view::Views;

/// Names a claimed message: the name of its claim.
#[derive(Clone, Debug)]
pub(crate) struct Receipt(pub(crate) Arc<str>);

#[derive(Debug)]
pub(crate) struct ZooKeeperStore {
    pub(crate) core: Arc<Core>,
    pub(crate) views: Views,
    topology: SharedTopology<Records>,
}

impl ZooKeeperStore {
    pub(crate) async fn new(core: Arc<Core>) -> Result<Self> {
        let records = Records::new(Arc::clone(&core)).await?;
        Ok(Self { core, views: Views::new(), topology: SharedTopology::new(records) })
    }

    /// Deletes what waits, and says how much it was.
    async fn empty(&self, path: &str) -> Result<u64> {
        let names = match self.core.ask(self.core.client.list_children(path)).await? {
            Ok(names) => names,
            Err(Zk::NoNode) => return Ok(0),
            Err(refused) => return Err(error(refused)),
        };
        let mut count = 0;
        let names: Vec<_> = names.into_iter().filter(|name| name.starts_with(ENTRY)).collect();
        for part in names.chunks(500) {
            let deletions: Vec<_> = part
                .iter()
                .map(|name| self.core.ask(self.core.client.delete(&format!("{path}/{name}"), None)))
                .collect();
            for deletion in join_all(deletions).await {
                match deletion? {
                    Ok(()) => count += 1,
                    Err(Zk::NoNode) => {}
                    Err(refused) => return Err(error(refused)),
                }
            }
        }
        Ok(count)
    }
}

#[async_trait]
impl Store for ZooKeeperStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "zookeeper"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.maintenance = Some(Duration::from_millis(100));
        features.longest_wait = Duration::from_secs(60);
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        // Clients are not told the version.
        ServerInfo::new("ZooKeeper", "")
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        let path = layout::queue(queue.name())?;
        self.core.ensure(&path).await
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        let Ok(path) = layout::queue(queue) else { return Ok(false) };
        self.core.catch_up().await?;
        Ok(self.core.call(self.core.client.check_stat(&path)).await?.is_some())
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        let Ok(path) = layout::queue(queue) else { return Ok(0) };
        self.core.forget_queue(queue);
        let mut waiting = 0;
        loop {
            waiting += self.empty(&path).await?;
            match self.core.ask(self.core.client.delete(&path, None)).await? {
                Ok(()) | Err(Zk::NoNode) => break,
                Err(Zk::NotEmpty) => {}
                Err(refused) => return Err(error(refused)),
            }
        }
        self.core.drop_claims_of(&queue.into()).await?;
        Ok(waiting)
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        self.core.catch_up().await?;
        self.empty(&layout::queue(queue)?).await
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        let path = layout::queue(queue)?;
        self.core.catch_up().await?;
        let stat = self.core.call(self.core.client.check_stat(&path)).await?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.num_children).unwrap_or(0)))
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        self.core.catch_up().await?;
        self.views.begin(&self.core, &queue.into()).await
    }

    async fn end_consuming(&self, queue: &str) {
        self.views.drop(queue);
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        self.put_all(batch).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        self.take_or_wait(claim).await
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        self.settle_all(batch).await
    }

    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        self.views.prune();
        self.core.look_after(interrupt).await
    }

    async fn ping(&self) -> Result<()> {
        self.core.call(self.core.client.check_stat("/")).await.map(drop)
    }

    async fn lost(&self) -> Error {
        self.core.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.core.close().await
    }
}
