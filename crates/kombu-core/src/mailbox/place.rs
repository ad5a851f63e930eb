//! A namespace of nodes on a broker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Call, Cast};
use super::node::Node;
use crate::clock::LamportClock;
use crate::connection::Connection;
use crate::entity::{DeliveryMode, Exchange, ExchangeType, Queue};
use crate::error::Result;
use crate::transport::Capabilities;

/// A namespace of nodes on a broker. Cheap to clone.
///
/// # Kombu
///
/// `kombu.pidbox.Mailbox`. Celery's workers are in the namespace `celery`, with the type
/// [`fanout`](Self::fanout).
#[derive(Clone)]
pub struct Mailbox {
    pub(super) connection: Connection,
    pub(super) namespace: String,
    kind: ExchangeType,
    pub(super) serializer: String,
    pub(super) clock: Arc<LamportClock>,
    queue_ttl: Option<Duration>,
    queue_expires: Option<Duration>,
    durable: bool,
}

impl Mailbox {
    /// The mailbox of a namespace, over a direct exchange, in JSON.
    #[must_use]
    pub fn new(connection: &Connection, namespace: impl Into<String>) -> Self {
        Self {
            connection: connection.clone(),
            namespace: namespace.into(),
            kind: ExchangeType::Direct,
            serializer: "json".to_owned(),
            clock: Arc::default(),
            queue_ttl: None,
            queue_expires: None,
            durable: false,
        }
    }

    /// Uses a fanout exchange, as Celery does. All of a namespace have to agree on it.
    #[must_use]
    pub fn fanout(mut self) -> Self {
        self.kind = ExchangeType::Fanout;
        self
    }

    /// How bodies are written and what bodies may be, by the name of a serializer. Default: `json`.
    #[must_use]
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = name.into();
        self
    }

    /// The logical clock that it shares with others. Default: its own.
    #[must_use]
    pub fn clock(mut self, clock: Arc<LamportClock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long a request may wait for its node, where the broker can tell. Default: no limit.
    #[must_use]
    pub fn queue_ttl(mut self, ttl: Duration) -> Self {
        self.queue_ttl = Some(ttl);
        self
    }

    /// How long the queue of a node that is gone stays, where the broker can tell. Default: it goes
    /// with the node.
    #[must_use]
    pub fn queue_expires(mut self, after: Duration) -> Self {
        self.queue_expires = Some(after);
        self
    }

    /// Keeps the queues of nodes: requests wait for a node that is away. Default: false, a node's
    /// queue is its own and goes with it.
    ///
    /// Neither kind is one that RabbitMQ 4 refuses: its transient queues belong to one connection.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// A node of that name, which is to be known to no other node of the namespace.
    pub fn node(&self, name: impl Into<String>) -> Node {
        Node::new(self.clone(), name.into())
    }

    /// Calls a method of some nodes, and waits for their replies.
    pub fn call<N: Into<String>>(
        &self,
        nodes: impl IntoIterator<Item = N>,
        method: impl Into<String>,
    ) -> Call {
        let nodes: Vec<_> = nodes.into_iter().map(Into::into).collect();
        let limit = nodes.len();
        Call::new(self.clone(), method.into(), Some(nodes)).limit(limit)
    }

    /// Calls a method of all nodes, and gathers what replies come in time.
    pub fn multi_call(&self, method: impl Into<String>) -> Call {
        Call::new(self.clone(), method.into(), None)
    }

    /// Has some nodes do something, without a reply.
    pub fn cast<N: Into<String>>(
        &self,
        nodes: impl IntoIterator<Item = N>,
        method: impl Into<String>,
    ) -> Cast {
        let nodes = nodes.into_iter().map(Into::into).collect();
        Cast::new(self.clone(), method.into(), Some(nodes))
    }

    /// Has all nodes do something, without a reply.
    pub fn abcast(&self, method: impl Into<String>) -> Cast {
        Cast::new(self.clone(), method.into(), None)
    }

    /// Where requests go.
    pub(super) fn exchange(&self) -> Exchange {
        transient(Exchange::new(format!("{}.pidbox", self.namespace), self.kind.clone()))
    }

    /// Where replies go.
    pub(super) fn reply_exchange(&self) -> Exchange {
        reply_exchange(format!("reply.{}.pidbox", self.namespace))
    }

    /// The queue of a node.
    pub(super) async fn node_queue(&self, node: &str) -> Result<Queue> {
        let can = self.connection.capabilities().await?;
        let mut queue =
            Queue::new(format!("{node}.{}.pidbox", self.namespace)).bind(self.exchange(), "");
        if !self.durable {
            queue = own(queue, &can);
        }
        if let Some(after) = self.queue_expires.filter(|_| can.queue_expires) {
            queue = queue.expires(after);
        }
        if let Some(ttl) = self.queue_ttl.filter(|_| can.queue_message_ttl) {
            queue = queue.message_ttl(ttl);
        }
        Ok(queue)
    }

    /// A queue for the replies to one call.
    pub(super) async fn reply_queue(&self, key: &str) -> Result<Queue> {
        let can = self.connection.capabilities().await?;
        let replies = self.reply_exchange();
        let queue = Queue::new(format!("{key}.{}", replies.name())).bind(&replies, key);
        let queue = own(queue, &can);
        Ok(if can.queue_expires { queue.expires(REPLY_QUEUE_EXPIRES) } else { queue })
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("namespace", &self.namespace)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// An exchange that replies go to.
pub(super) fn reply_exchange(name: impl Into<String>) -> Exchange {
    transient(Exchange::direct(name))
}

fn transient(exchange: Exchange) -> Exchange {
    exchange.durable(false).delivery_mode(DeliveryMode::Transient)
}

/// Makes a queue one that goes with its consumer, as far as the broker can.
fn own(queue: Queue, can: &Capabilities) -> Queue {
    queue.durable(false).exclusive(can.exclusive_queues).auto_delete(can.auto_delete_queues)
}

/// Kombu's.
const REPLY_QUEUE_EXPIRES: Duration = Duration::from_secs(10);
