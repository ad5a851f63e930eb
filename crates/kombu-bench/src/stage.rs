//! What surrounds a run: the queue, its messages, and the check of what is left.

use std::fmt::Debug;

use anyhow::Result;
use async_trait::async_trait;

use crate::amqp::stage::AmqpStage;
use crate::etcd::stage::EtcdStage;
use crate::files::stage::FilesStage;
use crate::redis::stage::RedisStage;
use crate::sql::stage::SqlStage;
use crate::zookeeper::stage::ZooKeeperStage;

/// A connection of its own to a broker.
#[async_trait]
pub(crate) trait Stage: Debug + Send + Sync {
    /// Makes an empty durable queue.
    async fn fresh(&self, queue: &str) -> Result<()>;

    /// Puts persistent messages into it.
    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()>;

    /// Checks how many messages are ready, and that no others are.
    async fn expect(&self, queue: &str, count: u64) -> Result<()>;

    /// Deletes a queue.
    async fn delete(&self, queue: &str) -> Result<()>;

    /// Ends the connection.
    async fn close(&self) -> Result<()>;
}

/// Connects to the broker of a URL.
pub(crate) async fn open(url: &str) -> Result<Box<dyn Stage>> {
    Ok(match url.split("://").next().unwrap_or_default() {
        "etcd" => Box::new(EtcdStage::open(url).await?),
        "filesystem" => Box::new(FilesStage::open(url)?),
        "redis" | "rediss" => Box::new(RedisStage::open(url).await?),
        "sqla+sqlite" => Box::new(SqlStage::open(url).await?),
        "zookeeper" => Box::new(ZooKeeperStage::open(url).await?),
        _ => Box::new(AmqpStage::open(url).await?),
    })
}
