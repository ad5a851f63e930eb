//! One connection's view of the queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
};
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Put, Settlement, SharedTopology, Store, StoreFeatures, Topology,
};

use crate::core::Core;
use crate::layout::{Entry, OPERATIONS, check_name, read_entry};
use crate::records::Records;
use crate::view::Views;

/// Names a claimed message.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) rank: u8,
    pub(crate) id: Arc<str>,
    /// The revision that made the claim: a later one of somebody else has another.
    pub(crate) revision: i64,
}

#[derive(Debug)]
pub(crate) struct EtcdStore {
    pub(crate) core: Arc<Core>,
    pub(crate) views: Views,
    topology: SharedTopology<Records>,
}

impl EtcdStore {
    pub(crate) async fn new(core: Arc<Core>) -> Result<Self> {
        let records = Records::new(Arc::clone(&core)).await?;
        Ok(Self { core, views: Views::new(), topology: SharedTopology::new(records) })
    }

    /// The revision of the newest change of a queue's index that left a key.
    pub(crate) async fn newest_change(&self, queue: &str) -> Result<i64> {
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_sort(SortTarget::Mod, SortOrder::Descend)
            .with_limit(1);
        let newest = self.core.get(self.core.keys.messages(queue), options).await?;
        Ok(newest.kvs().first().map_or(0, |kv| kv.mod_revision()))
    }

    /// Counts the messages and the claims of a queue.
    async fn counts(&self, queue: &str) -> Result<(u64, u64)> {
        let keys = &self.core.keys;
        let count = |prefix: String| {
            TxnOp::get(prefix, Some(GetOptions::new().with_prefix().with_count_only()))
        };
        let both = vec![count(keys.messages(queue)), count(keys.claims(queue))];
        let mut counts = self.core.all(both).await?.op_responses().into_iter().map(counted);
        Ok((counts.next().unwrap_or(0), counts.next().unwrap_or(0)))
    }

    /// Deletes the messages of a queue that nobody has claimed, one by one.
    async fn purge_unclaimed(&self, queue: &str) -> Result<u64> {
        let keys = &self.core.keys;
        let options = GetOptions::new().with_prefix().with_keys_only();
        let index = keys.index(queue);
        let listed = self.core.get(index.clone(), options).await?;
        let entries: Vec<_> =
            listed.kvs().iter().filter_map(|kv| read_entry(&index, kv.key())).collect();
        let messages: Vec<_> =
            entries.iter().filter(|(entry, ..)| *entry == Entry::Message).collect();
        let mut deleted = 0;
        for part in messages.chunks(OPERATIONS) {
            let steps = part.iter().map(|(_, rank, id)| {
                let claim = keys.claim(queue, *rank, id);
                let free = Compare::create_revision(claim, CompareOp::Equal, 0);
                let message = keys.message(queue, *rank, id);
                let there = Compare::create_revision(message.clone(), CompareOp::Greater, 0);
                let body = TxnOp::delete(keys.body(queue, id), None);
                let both = [TxnOp::delete(message, None), body];
                TxnOp::txn(Txn::new().when([free, there]).and_then(both))
            });
            for step in self.core.all(steps.collect()).await?.op_responses() {
                deleted += u64::from(matches!(step, TxnOpResponse::Txn(step) if step.succeeded()));
            }
        }
        Ok(deleted)
    }
}

/// Everything below a key.
fn delete_below(prefix: String) -> TxnOp {
    TxnOp::delete(prefix, Some(DeleteOptions::new().with_prefix()))
}

fn counted(answer: TxnOpResponse) -> u64 {
    let count = match answer {
        TxnOpResponse::Get(got) => got.count(),
        TxnOpResponse::Delete(gone) => gone.deleted(),
        _ => 0,
    };
    u64::try_from(count).unwrap_or(0)
}

#[async_trait]
impl Store for EtcdStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "etcd"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.maintenance = Some(Duration::from_secs(30));
        features.longest_wait = Duration::from_secs(60);
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        self.core.server.clone()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        check_name("a queue", queue.name())?;
        let key = self.core.keys.queue(queue.name());
        let none = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, "", None);
        self.core.transact(Txn::new().when([none]).and_then([put])).await?;
        self.core.note_queue(queue.name(), true);
        Ok(())
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        let keys = &self.core.keys;
        let count = GetOptions::new().with_count_only();
        let either = vec![
            TxnOp::get(keys.queue(queue), Some(count.clone())),
            TxnOp::get(keys.messages(queue), Some(count.with_prefix())),
        ];
        Ok(self.core.all(either).await?.op_responses().into_iter().map(counted).sum::<u64>() > 0)
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        let keys = &self.core.keys;
        self.core.note_queue(queue, false);
        let all = vec![
            delete_below(keys.messages(queue)),
            delete_below(keys.claims(queue)),
            delete_below(keys.bodies(queue)),
            TxnOp::delete(keys.queue(queue), None),
        ];
        let mut counts = self.core.all(all).await?.op_responses().into_iter().map(counted);
        let (messages, claims) = (counts.next().unwrap_or(0), counts.next().unwrap_or(0));
        Ok(messages.saturating_sub(claims))
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let keys = &self.core.keys;
        let claims = keys.claims(queue);
        let unclaimed = Compare::create_revision(claims, CompareOp::Equal, 0).with_prefix();
        let all = [delete_below(keys.messages(queue)), delete_below(keys.bodies(queue))];
        let answer = self.core.transact(Txn::new().when([unclaimed]).and_then(all)).await?;
        match answer.op_responses().into_iter().next() {
            Some(deleted) => Ok(counted(deleted)),
            None => self.purge_unclaimed(queue).await,
        }
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        let (messages, claims) = self.counts(queue).await?;
        Ok(messages.saturating_sub(claims))
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
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

    async fn maintain(&self, _: &Interrupt) -> Result<()> {
        self.views.prune();
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.core.ping().await
    }

    async fn lost(&self) -> Error {
        self.core.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.core.close().await
    }
}
