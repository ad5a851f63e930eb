//! The connection.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use super::link::Link;
use super::{Consumer, Delivery, Producer};
use crate::connection::ConnectionBuilder;
use crate::consumer::ConsumerBuilder;
use crate::entity::{Exchange, IntoQueues, Queue};
use crate::error::Result;
use crate::transport::QueueInfo;

/// A connection whose calls block. Cheap to clone; all clones, and the producers and consumers made
/// of it, are one link.
///
/// It does all that [`Connection`](crate::Connection) does; the methods here are those of most
/// programs, [`wait`](Self::wait) is for the others. Dropping the last handle ends it in the
/// background, and the end of the program may come first: [`close`](Self::close) it.
#[derive(Clone, Debug)]
pub struct Connection {
    link: Arc<Link>,
}

impl Connection {
    /// Connects as the builder says.
    ///
    /// # Errors
    ///
    /// Those of [`ConnectionBuilder::connect`], and `Other` when the system gives no thread.
    pub fn connect(builder: ConnectionBuilder) -> Result<Self> {
        Ok(Self { link: Link::connect(builder)? })
    }

    /// A producer with a channel of its own.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::producer`](crate::Connection::producer).
    pub fn producer(&self) -> Result<Producer> {
        let producer = self.wait(self.connection().producer())?;
        Ok(Producer::new(Arc::clone(&self.link), producer))
    }

    /// Starts a consumer of one queue or several.
    ///
    /// # Errors
    ///
    /// Those of [`ConsumerBuilder::start`].
    pub fn consume(&self, queues: impl IntoQueues) -> Result<Consumer> {
        self.consume_with(queues, |consumer| consumer)
    }

    /// Starts a consumer that is configured first, such as with
    /// `|consumer| consumer.prefetch(10).accept(["json"])`.
    ///
    /// # Errors
    ///
    /// Those of [`ConsumerBuilder::start`].
    pub fn consume_with(
        &self,
        queues: impl IntoQueues,
        configure: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
    ) -> Result<Consumer> {
        let consumer = self.wait(configure(self.connection().consumer(queues)).start())?;
        Ok(Consumer::new(Arc::clone(&self.link), consumer))
    }

    /// Declares an exchange.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::declare_exchange`](crate::Channel::declare_exchange).
    pub fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.wait(self.connection().declare_exchange(exchange))
    }

    /// Declares a queue with its bindings and their exchanges.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::declare_queue`](crate::Channel::declare_queue).
    pub fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        self.wait(self.connection().declare_queue(queue))
    }

    /// Takes one message, if one waits.
    ///
    /// # Errors
    ///
    /// Those of [`Channel::get`](crate::Channel::get).
    pub fn get(&self, queue: &str) -> Result<Option<Delivery>> {
        let delivery = self.wait(self.connection().get(queue))?;
        Ok(delivery.map(|delivery| Delivery::new(Arc::clone(&self.link), delivery)))
    }

    /// Drops the messages that wait in a queue, and says how many.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn purge(&self, queue: &str) -> Result<u64> {
        self.wait(self.connection().purge(queue))
    }

    /// How many messages wait in a queue, as far as the broker knows.
    ///
    /// # Errors
    ///
    /// `NotFound`.
    pub fn size(&self, queue: &str) -> Result<u64> {
        self.wait(self.connection().size(queue))
    }

    /// Deletes a queue, and says how many messages went with it.
    ///
    /// # Errors
    ///
    /// Those of the link; a missing queue is none.
    pub fn delete_queue(&self, queue: &str) -> Result<u64> {
        self.wait(self.connection().delete_queue(queue))
    }

    /// Asks the broker for a sign of life, and says how long it took.
    ///
    /// # Errors
    ///
    /// Those of [`Connection::ping`](crate::Connection::ping).
    pub fn ping(&self) -> Result<Duration> {
        self.wait(self.connection().ping())
    }

    /// Ends the connection, and waits until what was settled is sent. All handles answer `Closed`
    /// from now on. Closing twice is no error.
    ///
    /// # Errors
    ///
    /// Those of the link; it is gone all the same.
    pub fn close(&self) -> Result<()> {
        self.wait(self.connection().close())
    }

    /// The async handle of the same connection, whose calls need [`wait`](Self::wait).
    #[must_use]
    pub fn connection(&self) -> &crate::Connection {
        &self.link.connection
    }

    /// Waits for a call of the async API, and returns what it returns.
    ///
    /// ```
    /// # use kombu_core::{Connection, blocking};
    /// # use kombu_transport_memory::MemoryTransport;
    /// # fn main() -> kombu_core::Result<()> {
    /// # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
    /// let connection = blocking::Connection::connect(builder)?;
    /// let mut jobs = connection.wait(connection.connection().simple_queue("jobs").open())?;
    /// connection.wait(jobs.put("sweep"))?;
    /// let job = connection.wait(jobs.get())?;
    /// assert_eq!(job.decode::<String>()?, "sweep");
    /// connection.wait(job.ack())
    /// # }
    /// ```
    pub fn wait<F: IntoFuture>(&self, call: F) -> F::Output {
        self.link.wait(call.into_future())
    }
}
