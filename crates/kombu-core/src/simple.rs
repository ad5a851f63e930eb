//! A queue as one knows it from a programming language: put, get, size, clear.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::channel::Channel;
use crate::codec::Accept;
use crate::connection::Connection;
use crate::consumer::{BodyContext, Consumer, Delivery};
use crate::entity::{DeliveryMode, Exchange, Queue};
use crate::error::{Error, Result};
use crate::producer::{Producer, Publication};
use crate::transport::Get;

/// A simple queue under construction; [`open`](Self::open) declares it.
#[derive(Debug)]
#[must_use = "a queue is not there until it is opened"]
pub struct SimpleQueueBuilder {
    connection: Connection,
    queue: Queue,
    /// Whether it is to be private to this connection, where the broker can do that.
    buffer: bool,
    no_ack: bool,
    prefetch: u16,
    serializer: Option<String>,
    compression: Option<String>,
    accept: Option<Accept>,
}

impl Connection {
    /// Starts to configure a simple queue: by a name, a durable queue of that name, bound by it to a
    /// direct exchange of that name; or any other queue, with the first of its bindings.
    ///
    /// # Kombu
    ///
    /// `Connection.SimpleQueue`, which gives queue, exchange and routing key one name.
    pub fn simple_queue(&self, queue: impl Into<Queue>) -> SimpleQueueBuilder {
        let mut queue = queue.into();
        if queue == Queue::new(queue.name()) {
            let name = queue.name().to_owned();
            queue = queue.bind(Exchange::direct(&name), name);
        }
        self.simple(queue)
    }

    /// Starts to configure a simple queue for messages that may be lost: they are settled by being
    /// taken, and the queue goes with this connection.
    ///
    /// Brokers without exclusive queues delete it with its last consumer, or keep it.
    ///
    /// # Kombu
    ///
    /// `Connection.SimpleBuffer`.
    pub fn simple_buffer(&self, name: &str) -> SimpleQueueBuilder {
        let exchange = Exchange::direct(name)
            .durable(false)
            .auto_delete(true)
            .delivery_mode(DeliveryMode::Transient);
        let queue = Queue::new(name).durable(false).bind(exchange, name);
        SimpleQueueBuilder { buffer: true, ..self.simple(queue) }.no_ack(true)
    }

    fn simple(&self, queue: Queue) -> SimpleQueueBuilder {
        SimpleQueueBuilder {
            connection: self.clone(),
            no_ack: queue.is_no_ack(),
            queue,
            buffer: false,
            prefetch: 100,
            serializer: None,
            compression: None,
            accept: None,
        }
    }
}

impl SimpleQueueBuilder {
    /// Whether messages are settled by being taken. Default: what the queue says.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }

    /// The most unsettled messages, those that were fetched ahead included: with 1, others on the
    /// same queue get their share, and a message is to be settled before the next one comes.
    /// 0 is no limit. Default: 100.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// What messages are written with, by name. Default: Kombu's rule; see
    /// [`Producer::serializer`].
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = Some(name.into());
        self
    }

    /// How messages are compressed, by name. Default: not.
    pub fn compression(mut self, name: impl Into<String>) -> Self {
        self.compression = Some(name.into());
        self
    }

    /// What bodies may be. Default: that of the connection.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = Some(accept.into());
        self
    }

    /// Declares the queue and its exchange.
    ///
    /// # Errors
    ///
    /// Those of declaring, and `InvalidArgument` for an unknown name in the accept list.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; the queue may have been declared.
    pub async fn open(self) -> Result<SimpleQueue> {
        let mut queue = self.queue;
        if self.buffer {
            let broker = self.connection.capabilities().await?;
            queue = queue.exclusive(broker.exclusive_queues);
            if !broker.exclusive_queues {
                queue = queue.auto_delete(broker.auto_delete_queues);
            }
        }
        let channel = self.connection.channel();
        let info = channel.declare_queue(&queue).await?;
        let queue = queue.named(info.name);
        let producer = self.connection.producer().await?;
        let mut producer = match queue.bindings().first() {
            Some(binding) => {
                producer.exchange(binding.exchange()).routing_key(binding.routing_key())
            }
            None => producer.routing_key(queue.name()),
        };
        if let Some(serializer) = self.serializer {
            producer = producer.serializer(serializer);
        }
        if let Some(compression) = self.compression {
            producer = producer.compression(compression);
        }
        let bodies = BodyContext::accepting(&channel.shared().settings, self.accept.as_ref())?;
        Ok(SimpleQueue {
            connection: self.connection,
            channel,
            producer,
            consumer: None,
            queue,
            no_ack: self.no_ack,
            prefetch: self.prefetch,
            accept: self.accept,
            bodies,
        })
    }
}

/// A queue to put messages into and to get them from.
///
/// ```
/// # use std::time::Duration;
/// # use kombu_core::Connection;
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
/// # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
/// let connection = builder.connect().await?;
/// let mut jobs = connection.simple_queue("jobs").open().await?;
/// jobs.put("sweep").await?;
/// jobs.put("dust").priority(5).await?;
///
/// let job = jobs.get().await?;
/// assert_eq!(job.decode::<String>()?, "sweep");
/// job.ack().await?;
///
/// let job = jobs.try_get().await?.expect("one is left");
/// job.requeue().await?;
/// let job = jobs.get_within(Duration::from_secs(5)).await?.expect("it came again");
/// job.ack().await?;
/// assert!(jobs.get_within(Duration::from_millis(10)).await?.is_none());
/// jobs.close().await
/// # }
/// ```
///
/// The first [`get`](Self::get) subscribes; from then on messages are fetched ahead, up to the
/// prefetch. Those are not counted by [`size`](Self::size), and go back when the queue is closed.
///
/// # Kombu
///
/// `kombu.simple.SimpleQueue`. An empty queue is a `None`, not an exception, and
/// [`try_get`](Self::try_get) sees what was fetched ahead.
pub struct SimpleQueue {
    connection: Connection,
    channel: Channel,
    producer: Producer,
    /// There from the first get that waited.
    consumer: Option<Consumer>,
    queue: Queue,
    no_ack: bool,
    prefetch: u16,
    accept: Option<Accept>,
    bodies: Arc<BodyContext>,
}

impl SimpleQueue {
    /// Puts a message into the queue; awaiting it waits for the broker's confirm.
    pub fn put<T: Serialize + ?Sized>(&self, body: &T) -> Publication {
        self.producer.publish(body)
    }

    /// Takes a message, and waits for one as long as it takes.
    ///
    /// # Errors
    ///
    /// What ended the consumer, and `Closed` when the connection was closed.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn get(&mut self) -> Result<Delivery> {
        let consumer = self.consumer().await?;
        match consumer.next().await {
            Some(delivery) => delivery,
            None => Err(Error::closed("connection").during("get")),
        }
    }

    /// Takes a message, and waits for one at most so long; `None` when none came.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn get_within(&mut self, wait: Duration) -> Result<Option<Delivery>> {
        let deadline = Instant::now() + wait;
        // Subscribing has a deadline of its own, and is worth finishing.
        self.consumer().await?;
        timeout_at(deadline, self.get()).await.ok().transpose()
    }

    /// Takes a message if one waits; `None` when none does.
    ///
    /// # Errors
    ///
    /// As for [`Channel::get`].
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn try_get(&mut self) -> Result<Option<Delivery>> {
        // What was fetched ahead comes first.
        let fetched = self.consumer.as_mut().and_then(|consumer| consumer.next().now_or_never());
        if let Some(Some(delivery)) = fetched {
            return delivery.map(Some);
        }
        let mut get = Get::new(self.queue.name());
        get.no_ack = self.no_ack;
        self.channel.get_in(&get, Arc::clone(&self.bodies)).await
    }

    /// How many messages wait, without those that were fetched ahead.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::size`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn size(&self) -> Result<u64> {
        self.channel.size(self.queue.name()).await
    }

    /// Drops all messages, those that were fetched ahead included, and says how many.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::purge`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; messages may have been dropped.
    pub async fn clear(&mut self) -> Result<u64> {
        self.give_back().await?;
        self.channel.purge(self.queue.name()).await
    }

    /// The queue that it is, with its bindings.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Ends it: what was fetched ahead goes back. Deliveries that are held can still be settled.
    ///
    /// # Errors
    ///
    /// Those of the link; messages go back all the same.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, messages go back in the background.
    pub async fn close(mut self) -> Result<()> {
        self.give_back().await
    }

    async fn give_back(&mut self) -> Result<()> {
        match self.consumer.take() {
            Some(consumer) => consumer.close().await,
            None => Ok(()),
        }
    }

    async fn consumer(&mut self) -> Result<&mut Consumer> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => {
                let mut consumer = self.connection.consumer(&self.queue);
                consumer = consumer.no_ack(self.no_ack).prefetch(self.prefetch);
                if let Some(accept) = self.accept.clone() {
                    consumer = consumer.accept(accept);
                }
                consumer.start().await?
            }
        };
        Ok(self.consumer.insert(consumer))
    }
}

impl fmt::Debug for SimpleQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimpleQueue")
            .field("queue", &self.queue)
            .field("no_ack", &self.no_ack)
            .finish_non_exhaustive()
    }
}
