//! What surrounds a run on `RabbitMQ`: the queue, its messages, and the check of what is left.

use anyhow::{Result, ensure};
use async_rs::Runtime;
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use crate::stage::Stage;

/// A connection of its own.
#[derive(Debug)]
pub(crate) struct AmqpStage {
    connection: Connection,
    channel: Channel,
}

impl AmqpStage {
    /// Connects.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let (connection, channel) = connect(url).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { connection, channel })
    }
}

#[async_trait]
impl Stage for AmqpStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(())
    }

    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        stream::iter(0..count)
            .map(|_| publish(&self.channel, queue, body))
            .buffered(1000)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default());
        let left = u64::from(declared.await?.message_count());
        ensure!(left == count, "{left} messages are in the queue, {count} should be");
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.connection.close(200, "done".into()).await?;
        Ok(())
    }
}

/// A connection and a channel.
pub(super) async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let properties = ConnectionProperties::default();
    let runtime = Runtime::tokio_current();
    let connection = Connection::connect_with_runtime(url, properties, runtime).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

/// Publishes one message and waits until the broker has it.
pub(super) async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<()> {
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish("".into(), queue.into(), options, body, persistent());
    let confirmation = published.await?.await?;
    ensure!(confirmation.is_ack(), "the broker refused a message");
    Ok(())
}

/// The properties of every message.
pub(super) fn persistent() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
}
