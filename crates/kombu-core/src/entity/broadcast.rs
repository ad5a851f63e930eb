//! Queues of which every one gets every message.

use super::{Exchange, Queue};
use crate::id::uuid;

/// A queue with a name of its own on a fanout exchange: each consumer that has one gets its own copy
/// of all that is published to the exchange, from when its queue was declared on.
///
/// ```
/// # use kombu_core::{Broadcast, Connection};
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
/// # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
/// # let connection = builder.connect().await?;
/// let (one, two) = (Broadcast::new("news"), Broadcast::new("news"));
/// let mut here = connection.consumer(&one).start().await?;
/// let mut there = connection.consumer(&two).start().await?;
///
/// let producer = connection.producer().await?;
/// producer.publish("cats are dogs").to(one.exchange(), "").await?;
/// for listener in [&mut here, &mut there] {
///     let news = listener.next().await.expect("it is not closed")?;
///     assert_eq!(news.decode::<String>()?, "cats are dogs");
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Kombu
///
/// `kombu.common.Broadcast`, with its names: the exchange has the given one and is durable, the queue
/// is `bcast.` and a UUID, and goes with its last consumer. A queue that is neither transient nor
/// exclusive is one that RabbitMQ 4 takes everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    exchange: Exchange,
    queue: Queue,
}

impl Broadcast {
    /// A new queue on the exchange of that name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::on(Exchange::fanout(name))
    }

    /// A new queue on an exchange that is made by hand (Kombu's `exchange`).
    #[must_use]
    pub fn on(exchange: Exchange) -> Self {
        let queue = Queue::new(format!("bcast.{}", uuid())).auto_delete(true).bind(&exchange, "");
        Self { exchange, queue }
    }

    /// Names the queue: those who use the same name share its messages (Kombu's `queue`).
    #[must_use]
    pub fn queue(self, name: impl Into<String>) -> Self {
        self.with(|queue| queue.named(name))
    }

    /// Names the queue by a prefix, a dot and a UUID (Kombu's `queue` with `unique`).
    #[must_use]
    pub fn unique(self, prefix: &str) -> Self {
        self.queue(format!("{prefix}.{}", uuid()))
    }

    /// Changes the queue, such as its arguments or what `auto_delete` is.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(Queue) -> Queue) -> Self {
        self.queue = change(self.queue);
        self
    }

    /// The exchange to publish to.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }
}

impl From<Broadcast> for Queue {
    fn from(broadcast: Broadcast) -> Self {
        broadcast.queue
    }
}

impl From<&Broadcast> for Queue {
    fn from(broadcast: &Broadcast) -> Self {
        broadcast.queue.clone()
    }
}
