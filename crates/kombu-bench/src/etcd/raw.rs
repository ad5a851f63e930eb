//! etcd-client with the steps of a queue that loses nothing.

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use etcd_client::{
    Client, Compare, CompareOp, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp,
    TxnOpResponse,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kombu::BrokerUrl;
use uuid::Uuid;

use crate::case::Contender;
use crate::redis::envelope;
use crate::sample::Sample;
use crate::work::Work;

/// A connection.
pub(super) async fn connect(url: &str) -> Result<Client> {
    Ok(Client::connect([BrokerUrl::parse(url)?.address()], None).await?)
}

/// The keys of a queue: its index, and its bodies. They are those of the transport, which finds
/// here what others published.
pub(super) fn keys(queue: &str) -> (String, String) {
    (format!("kombu/index/{queue}/m/9/"), format!("kombu/bodies/{queue}/"))
}

/// Writes a message: its place in the index and its body.
pub(super) fn write(queue: &str, body: &[u8]) -> [TxnOp; 2] {
    let (index, bodies) = keys(queue);
    let (id, data) = (Uuid::new_v4().simple().to_string(), envelope::write(queue, body));
    [
        TxnOp::put(format!("{index}{id}"), data.len().to_string(), None),
        TxnOp::put(format!("{bodies}{id}"), data, None),
    ]
}

/// One transaction a message, so many at once.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) at_once: usize,
}

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let client = connect(&work.url).await?;
        let meter = work.meter();
        stream::iter(0..work.count)
            .map(|_| async {
                let message = write(&work.queue, &work.body.bytes);
                client.kv_client().txn(Txn::new().and_then(message)).await.map(drop)
            })
            .buffer_unordered(self.at_once)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        Ok(meter.stop(work.count))
    }
}

/// Lists the index in the order of revisions; for each message claims it under a lease, reading
/// its body, and then deletes claim and message, each in one transaction.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let mut client = connect(&work.url).await?;
        let lease = client.lease_grant(60, None).await?.id();
        let (index, bodies) = keys(&work.queue);
        let claims = format!("kombu/index/{}/c/9/", work.queue);
        let meter = work.meter();
        let order = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_sort(SortTarget::Create, SortOrder::Ascend);
        let listed = client.get(index.clone(), Some(order)).await?;
        ensure!(u64::try_from(listed.kvs().len())? == work.count, "not all are there");
        for kv in listed.kvs() {
            let id = kv.key_str()?.strip_prefix(&index).context("no key of the index")?;
            let (message, claim, body) =
                (kv.key().to_vec(), format!("{claims}{id}"), format!("{bodies}{id}"));
            let free = Compare::create_revision(claim.clone(), CompareOp::Equal, 0);
            let owned = PutOptions::new().with_lease(lease);
            let take = [TxnOp::put(claim.clone(), "", Some(owned)), TxnOp::get(body.clone(), None)];
            let taken = client.txn(Txn::new().when([free]).and_then(take)).await?;
            ensure!(taken.succeeded(), "somebody else has it");
            let found = taken.op_responses().into_iter().find_map(|answer| match answer {
                TxnOpResponse::Get(mut got) => got.take_kvs().pop(),
                _ => None,
            });
            let (_, data) = found.context("no body")?.into_key_value();
            work.check(&envelope::read(&data)?.0)?;
            let held = Compare::lease(claim.clone(), CompareOp::Equal, lease);
            let gone = [message, claim.into_bytes(), body.into_bytes()]
                .map(|key| TxnOp::delete(key, None));
            let done = client.txn(Txn::new().when([held]).and_then(gone)).await?;
            ensure!(done.succeeded(), "the claim is gone");
        }
        let sample = meter.stop(work.count);
        client.lease_revoke(lease).await?;
        Ok(sample)
    }
}

/// What tables call it.
pub(super) const NAME: &str = "raw etcd-client";
