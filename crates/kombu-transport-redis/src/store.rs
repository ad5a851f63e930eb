//! One connection's view of the queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, ExchangeType, Queue, Result};
use kombu_virtual::{Claim, Claimed, Interrupt, Put, Settlement, Store, StoreFeatures, Topology};

use crate::core::Core;
use crate::keys::Member;
use crate::ledger::Held;
use crate::scripts::number;
use crate::sweep;
use crate::topology::RedisTopology;

/// Names a claimed message.
#[derive(Clone, Debug)]
pub(crate) enum Receipt {
    /// A message of a fanout exchange, which only this process has.
    Fanout(Bytes),
    Recorded(Arc<Held>),
}

#[derive(Debug)]
pub(crate) struct RedisStore {
    pub(crate) core: Arc<Core>,
    pub(crate) topology: RedisTopology,
}

impl RedisStore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { topology: RedisTopology::new(Arc::clone(&core)), core }
    }

    /// Says for a while that a queue which expires is there.
    pub(crate) async fn mark(&self, queue: &str, after: Duration) -> Result<()> {
        let life = number(after.as_millis());
        let mark = self.core.keys.mark(queue);
        let [one, px] = [Bytes::from_static(b"1"), Bytes::from_static(b"PX")];
        self.core.call("SET", vec![mark, one, px, life]).await.map(drop)
    }
}

#[async_trait]
impl Store for RedisStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "redis"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.lease = Some(self.core.options.visibility_timeout);
        features.maintenance = Some(self.core.options.look_interval());
        features.loop_per_queue = self.core.keys.is_cluster();
        features.native_exchanges = &[ExchangeType::Fanout];
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        self.core.server.info.clone()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        // A queue without messages has no key. The default exchange's table, which Kombu neither
        // reads nor writes, says that it is there.
        if let Some(after) = self.topology.expires(queue.name()) {
            return self.mark(queue.name(), after).await;
        }
        let name = queue.name().to_owned();
        let own = Member { routing_key: name.clone(), pattern: String::new(), queue: name };
        let declared = vec![self.core.keys.bindings(""), self.core.keys.member(&own)];
        match self.core.call("SADD", declared).await {
            // A server that takes no writes for now need not be told again.
            Err(error) if error.kind() == ErrorKind::Blocked => {
                if self.queue_exists(queue.name()).await? { Ok(()) } else { Err(error) }
            }
            told => told.map(drop),
        }
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        let keys = &self.core.keys;
        let own = Member {
            routing_key: queue.to_owned(),
            pattern: String::new(),
            queue: queue.to_owned(),
        };
        let declared = vec![keys.bindings(""), keys.member(&own)];
        if self.core.call("SISMEMBER", declared).await?.into_int()? > 0 {
            return Ok(true);
        }
        let mut all = keys.lists(queue);
        all.push(keys.mark(queue));
        Ok(self.core.call("EXISTS", all).await?.into_int()? > 0)
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        // What is unsettled goes with the queue, before anyone gives it back.
        let scores = self.core.scores.lock().await;
        let gone: Vec<_> = self.core.ledger.strike_queue(queue).into_iter().enumerate().collect();
        for part in gone.chunks(1000) {
            self.forget(queue, part).await?;
        }
        let waiting = self.purge(queue).await?;
        drop(scores);
        self.core.call("DEL", vec![self.core.keys.mark(queue)]).await?;
        self.topology.forget_queue(queue).await?;
        Ok(waiting)
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let waiting = self.size(queue).await?;
        self.core.call("DEL", self.core.keys.lists(queue)).await?;
        self.core.fanout.clear(queue);
        Ok(waiting)
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        // What is being taken is not to be missing here before it is there.
        drop(self.core.taking.write().await);
        let lists = self.core.keys.lists(queue);
        let counts = join_all(lists.into_iter().map(|list| self.core.call("LLEN", vec![list])));
        let mut waiting = self.core.fanout.len(queue);
        for count in counts.await {
            waiting += count?.into_count()?;
        }
        Ok(waiting)
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        self.ping().await?;
        self.topology.consumers_changed(queue, true);
        Ok(())
    }

    async fn end_consuming(&self, queue: &str) {
        self.topology.consumers_changed(queue, false);
        if let Some(after) = self.topology.expires(queue) {
            let _gone_with_the_link = self.mark(queue, after).await;
        }
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        self.put_all(&batch).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        self.take_or_wait(claim).await
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        self.settle_all(batch).await
    }

    async fn renew(&self, receipts: Vec<Receipt>) -> Result<()> {
        self.renew_all(&receipts).await
    }

    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        // Whatever the server did not tell, such as a flush of the database.
        self.core.changed();
        self.topology.renew_bindings().await?;
        if self.core.claimed().is_empty() {
            return Ok(());
        }
        sweep::sweep(&self.core, &self.topology, interrupt).await
    }

    async fn ping(&self) -> Result<()> {
        self.core.link.call(b"", "PING", Vec::new()).await.map(drop)
    }

    async fn lost(&self) -> Error {
        self.core.link.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.core.close().await;
        Ok(())
    }
}

/// The most bytes of messages that one command carries either way, beside a last one.
pub(crate) const MOST_BYTES: usize = 4 << 20;
