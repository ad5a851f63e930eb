//! The transport.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::Result;
use kombu_core::transport::{
    Capabilities, ConnectParams, PriorityOrder, RawConnection, ServerInfo, Transport,
};

use crate::connection::AmqpConnection;
use crate::settings::Settings;

/// Connects to AMQP 0-9-1 brokers.
///
/// # Kombu
///
/// All four schemes are this one implementation. In Kombu `amqp` and `librabbitmq` may be the C
/// library, without TLS and heartbeats.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AmqpTransport;

impl AmqpTransport {
    /// The transport.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Transport for AmqpTransport {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["amqp", "amqps", "pyamqp", "librabbitmq"]
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&ServerInfo::new("RabbitMQ", ""))
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let settings = Settings::new(params)?;
        Ok(Arc::new(AmqpConnection::connect(settings).await?))
    }
}

/// What a server can do. What is RabbitMQ's own is not promised of others.
pub(crate) fn capabilities(server: &ServerInfo) -> Capabilities {
    let rabbit = server.product == "RabbitMQ";
    let mut capabilities = Capabilities::default();
    capabilities.direct = true;
    capabilities.topic = true;
    capabilities.fanout = true;
    capabilities.headers = true;
    capabilities.exchange_bindings = rabbit;
    capabilities.shared_bindings = true;
    capabilities.priority = true;
    capabilities.message_expiration = true;
    capabilities.queue_message_ttl = rabbit;
    capabilities.queue_expires = rabbit;
    capabilities.persistence = true;
    capabilities.at_least_once = true;
    capabilities.requeue_to_head = true;
    capabilities.redelivered = true;
    capabilities.delivery_count = rabbit;
    capabilities.mandatory = true;
    capabilities.exclusive_queues = true;
    capabilities.auto_delete_queues = true;
    capabilities.consumer_count = true;
    capabilities.cancel_notify = rabbit;
    capabilities.consumer_priority = rabbit;
    capabilities.dead_letter = rabbit;
    capabilities.max_length = rabbit;
    capabilities.delayed_delivery = rabbit;
    capabilities.heartbeats = true;
    capabilities.quorum_queues = rabbit;
    capabilities.priority_order = PriorityOrder::HighFirst;
    capabilities.max_message_bytes = rabbit.then_some(max_message_bytes(&server.version));
    capabilities
}

/// RabbitMQ's default limit; its `max_message_size` may be lower, or higher up to 512 MiB.
fn max_message_bytes(version: &str) -> u64 {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major >= 4) { 16 << 20 } else { 128 << 20 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rabbitmq_gets_rabbitmqs_promises() {
        let rabbit = capabilities(&ServerInfo::new("RabbitMQ", "4.1.0"));
        assert!(rabbit.quorum_queues);
        assert_eq!(rabbit.max_message_bytes, Some(16 << 20));
        let other = capabilities(&ServerInfo::new("Apache Qpid Broker-J", "9"));
        assert!(other.topic && !other.quorum_queues && !other.delayed_delivery);
        assert_eq!(other.max_message_bytes, None);
    }
}
