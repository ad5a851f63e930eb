//! What the tests share: a connection to a private broker, and messages.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use kombu_core::transport::{
    ConnectParams, Consume, ConsumerTag, DeliveryTag, Get, Inbox, Publish, RawChannel,
    RawConnection, RawDelivery, Settle, Transport, sink,
};
use kombu_core::{BrokerUrl, Message, Options, Outcome, Properties, Result};
use kombu_transport_memory::MemoryTransport;

pub(crate) struct Broker(MemoryTransport);

impl Broker {
    pub(crate) fn new() -> Self {
        Self(MemoryTransport::new())
    }

    pub(crate) async fn connect(&self) -> Arc<dyn RawConnection> {
        self.connect_with(Options::new()).await.unwrap()
    }

    pub(crate) async fn connect_with(&self, options: Options) -> Result<Arc<dyn RawConnection>> {
        let url = BrokerUrl::parse("memory://").unwrap();
        self.0.connect(&ConnectParams::new(url, options)?).await
    }

    /// A channel on a connection of its own.
    pub(crate) async fn channel(&self) -> Arc<dyn RawChannel> {
        self.connect().await.open_channel().await.unwrap()
    }
}

pub(crate) fn message(body: &str) -> Message {
    Message::new(body.to_owned(), Properties::new())
}

pub(crate) async fn publish(
    channel: &dyn RawChannel,
    exchange: &str,
    key: &str,
    body: &str,
) -> Result<()> {
    publish_message(channel, exchange, key, message(body)).await
}

pub(crate) async fn publish_message(
    channel: &dyn RawChannel,
    exchange: &str,
    key: &str,
    message: Message,
) -> Result<()> {
    channel.publish(Arc::new(Publish::new(exchange, key, message))).await?.await
}

pub(crate) async fn consume(channel: &dyn RawChannel, queue: &str, prefetch: u16) -> Inbox {
    let (sink, inbox) = sink(64);
    let mut consume = Consume::new(queue, ConsumerTag::new(format!("on {queue}")), sink);
    consume.prefetch = prefetch;
    channel.consume(consume).await.unwrap();
    inbox
}

/// The next `count` deliveries.
pub(crate) async fn receive(inbox: &mut Inbox, count: usize) -> Vec<RawDelivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(soon(inbox.next()).await.expect("the consumer ended"));
    }
    assert_eq!(all.len(), count, "more came than asked for");
    all
}

pub(crate) async fn ack(channel: &dyn RawChannel, tag: DeliveryTag) {
    channel.settle(Settle::one(tag, Outcome::Ack)).unwrap().await.unwrap();
}

pub(crate) async fn get(channel: &dyn RawChannel, queue: &str) -> Option<RawDelivery> {
    channel.get(&Get::new(queue)).await.unwrap()
}

pub(crate) fn bodies(deliveries: &[RawDelivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

pub(crate) fn body(delivery: &RawDelivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).unwrap()
}

/// Waits with a limit.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("nothing came in time")
}
