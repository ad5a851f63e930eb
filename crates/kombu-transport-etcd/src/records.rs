//! Exchanges and bindings as keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp, TxnOpResponse};
use kombu_core::Result;
use kombu_virtual::TopologyRecords;

use crate::core::Core;
use crate::error::error;
use crate::layout::{check_name, decode};

/// A key for each exchange and each binding.
#[derive(Debug)]
pub(crate) struct Records {
    core: Arc<Core>,
    version: Arc<AtomicU64>,
}

impl Records {
    /// Begins to watch the exchanges.
    pub(crate) async fn new(core: Arc<Core>) -> Result<Self> {
        let version = Arc::new(AtomicU64::new(1));
        // Nothing is read before, so no change is missed.
        let mut stream = core.watch(core.keys.exchanges(), 0).await?;
        let (told, watching) = (Arc::clone(&version), Arc::downgrade(&core));
        core.spawn(async move {
            let why = loop {
                match stream.message().await {
                    Ok(Some(answer)) if answer.canceled() => {
                        break format!("the server cancelled a watch: {}", answer.cancel_reason());
                    }
                    Ok(Some(_changes)) => {
                        told.fetch_add(1, Ordering::AcqRel);
                    }
                    Ok(None) => break "the server ended a watch".to_owned(),
                    Err(refused) => break error(refused).to_string(),
                }
            };
            if let Some(core) = watching.upgrade() {
                core.lose(&why);
            }
        });
        Ok(Self { core, version })
    }

    /// The server's notice of a change that was made here may come a moment after its answer.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// The last part of a key below another one.
    fn names(&self, below: &str, kvs: &[etcd_client::KeyValue]) -> Vec<String> {
        let name = |kv: &etcd_client::KeyValue| {
            let part = std::str::from_utf8(kv.key()).ok()?.strip_prefix(below)?.to_owned();
            decode(part.split('/').next()?)
        };
        kvs.iter().filter_map(name).collect()
    }
}

#[async_trait]
impl TopologyRecords for Records {
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    async fn exchanges(&self) -> Result<Vec<String>> {
        let below = self.core.keys.exchanges();
        let options = GetOptions::new().with_prefix().with_keys_only();
        let listed = self.core.get(below.clone(), options).await?;
        let mut names = self.names(&below, listed.kvs());
        // An exchange is listed beside each of its bindings.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn read(&self, exchange: &str) -> Result<(Option<String>, Vec<String>)> {
        let key = self.core.keys.exchange(exchange);
        let below = format!("{key}/");
        let bindings = GetOptions::new().with_prefix().with_keys_only();
        let operations = vec![TxnOp::get(key, None), TxnOp::get(below.clone(), Some(bindings))];
        let mut answers = self.core.all(operations).await?.op_responses().into_iter();
        let properties = match answers.next() {
            Some(TxnOpResponse::Get(got)) => got.kvs().first().map(|kv| kv.value().to_vec()),
            _ => None,
        };
        let bindings = match answers.next() {
            Some(TxnOpResponse::Get(got)) => self.names(&below, got.kvs()),
            _ => Vec::new(),
        };
        Ok((properties.and_then(|text| String::from_utf8(text).ok()), bindings))
    }

    async fn create(&self, exchange: &str, properties: &str) -> Result<()> {
        check_name("an exchange", exchange)?;
        let key = self.core.keys.exchange(exchange);
        let none = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, properties, None);
        self.core.transact(Txn::new().when([none]).and_then([put])).await?;
        self.changed();
        Ok(())
    }

    async fn delete(&self, exchange: &str) -> Result<()> {
        let key = self.core.keys.exchange(exchange);
        let below = DeleteOptions::new().with_prefix();
        let bindings = TxnOp::delete(format!("{key}/"), Some(below));
        self.core.all(vec![TxnOp::delete(key, None), bindings]).await?;
        self.changed();
        Ok(())
    }

    async fn add(&self, exchange: &str, binding: &str) -> Result<()> {
        let key = self.core.keys.binding(exchange, binding);
        let none = Compare::create_revision(key.clone(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, "", None);
        self.core.transact(Txn::new().when([none]).and_then([put])).await?;
        self.changed();
        Ok(())
    }

    async fn remove(&self, exchange: &str, binding: &str) -> Result<()> {
        let key = self.core.keys.binding(exchange, binding);
        self.core.all(vec![TxnOp::delete(key, None)]).await?;
        self.changed();
        Ok(())
    }
}
