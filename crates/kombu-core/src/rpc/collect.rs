//! The replies of many to one request.

use crate::connection::Connection;
use crate::consumer::Drain;
use crate::entity::Queue;
use crate::error::Result;

/// Listens for replies: start it before the request is published, and take what comes with
/// [`Drain::limit`], [`Drain::idle`] and [`Drain::within`].
///
/// Replies are not to be acknowledged. What comes after the end finds no queue if the queue is a
/// [`reply_queue`](super::reply_queue()).
///
/// ```
/// # use std::time::Duration;
/// # use kombu_core::{Connection, rpc, uuid};
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
/// # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
/// let connection = builder.connect().await?;
/// let producer = connection.producer().await?;
/// let mut node = connection.consumer("node").start().await?;
///
/// let queue = rpc::reply_queue(&connection.capabilities().await?);
/// let replies = rpc::collect_replies(&connection, &queue).await?;
/// let ping = producer.publish("ping").to("", "node");
/// ping.reply_to(queue.name()).correlation_id(uuid()).await?;
///
/// let request = node.next().await.expect("it was published")?;
/// producer.reply(&request, "pong").await?;
/// request.ack().await?;
///
/// let mut replies = replies.limit(5).idle(Duration::from_millis(50));
/// assert_eq!(replies.next().await.expect("one answered")?.decode::<String>()?, "pong");
/// assert!(replies.next().await.is_none());
/// replies.close().await
/// # }
/// ```
///
/// # Errors
///
/// Those of starting a consumer.
///
/// # Cancel safety
///
/// Cancel safe: what was started is ended.
///
/// # Kombu
///
/// `kombu.common.collect_replies`, which over plain stores also deletes the queue.
pub async fn collect_replies(connection: &Connection, queue: &Queue) -> Result<Drain> {
    let consumer = connection.consumer(queue).no_ack(true).start().await?;
    Ok(consumer.drain())
}
