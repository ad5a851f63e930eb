//! One connection's view of the queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Put, Settlement, SharedTopology, Store, StoreFeatures, Topology,
    VirtualOptions,
};

use crate::call::{self, Argument};
use crate::link::Link;
use crate::message::Receipt;
use crate::records::{self, Records};

#[derive(Debug)]
pub(crate) struct PyroStore {
    pub(crate) link: Arc<Link>,
    pub(crate) layer: VirtualOptions,
    topology: SharedTopology<Records>,
}

impl PyroStore {
    /// The queues behind a link, once what earlier links held is back in them.
    pub(crate) async fn new(link: Link, layer: VirtualOptions) -> Result<Self> {
        let link = Arc::new(link);
        let topology = SharedTopology::new(Records::new(Arc::clone(&link)));
        let store = Self { link, layer, topology };
        store.put_back().await?;
        Ok(store)
    }
}

impl Link {
    /// How many messages a queue has; none if there is no such queue. The request is queued before
    /// this returns.
    pub(crate) fn size(
        &self,
        queue: &str,
    ) -> impl Future<Output = Result<Option<u64>>> + Send + use<> {
        let sent = self.call("size", &[Argument::Text(queue)]);
        async move {
            match sent.await? {
                Ok(data) => call::value("size", &data).map(Some),
                Err(refusal) if refusal.is_missing() => Ok(None),
                Err(refusal) => Err(refusal.into_error()),
            }
        }
    }
}

#[async_trait]
impl Store for PyroStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "pyro"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        // With an interval of the user's each claim is one look, and the layer pauses.
        features.longest_wait = match self.layer.polling_interval {
            Some(_) => Duration::ZERO,
            None => Duration::from_secs(60),
        };
        features.maintenance = Some(Duration::from_secs(1));
        // What goes back in one call goes back in order.
        features.settle_batch = 100_000;
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        // Daemons do not tell their version.
        ServerInfo::new("Pyro4", "")
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        records::check_queue(queue.name())?;
        self.link.make_queue(queue.name()).await
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        match self.link.call("has_queue", &[Argument::Text(queue)]).await? {
            Ok(data) => call::value("has_queue", &data),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        records::check_queue(queue)?;
        self.link.forget(queue);
        let (waiting, deleted) = tokio::join!(self.link.size(queue), self.link.delete_queue(queue));
        deleted?;
        Ok(waiting?.unwrap_or_default())
    }

    /// Takes out what waits now: the daemon's own `purge` always fails.
    async fn purge(&self, queue: &str) -> Result<u64> {
        let queue: Arc<str> = queue.into();
        let mut left = self.link.size(&queue).await?.unwrap_or_default();
        let mut count = 0;
        while left > 0 {
            let part = left.min(PART);
            left -= part;
            let takes: Vec<_> = (0..part).map(|_| self.link.take(&queue)).collect();
            for taken in join_all(takes).await {
                match taken? {
                    Some((number, _)) => {
                        self.link.release(number);
                        count += 1;
                    }
                    None => left = 0,
                }
            }
        }
        Ok(count)
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        Ok(self.link.size(queue).await?.unwrap_or_default())
    }

    /// A daemon that does not answer has no consumer.
    async fn begin_consuming(&self, _queue: &str) -> Result<()> {
        self.link.ping().await
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        self.publish_all(batch).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        self.take_or_wait(claim).await
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        self.settle_all(batch).await
    }

    /// Messages may come late, over a link that was given up.
    async fn maintain(&self, _interrupt: &Interrupt) -> Result<()> {
        self.put_back().await
    }

    async fn ping(&self) -> Result<()> {
        self.link.ping().await
    }

    async fn lost(&self) -> Error {
        self.link.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.link.close();
        Ok(())
    }
}

/// How many messages are taken out at a time by a purge.
const PART: u64 = 50;
