//! How a worker is put together.

use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::chain::{self, Handler, Layer};
use super::{IntoVerdict, Job, Next, Verdict, run};
use crate::codec::Accept;
use crate::connection::Connection;
use crate::entity::Queue;
use crate::error::Result;
use crate::producer::Producer;
use crate::retry::RetryPolicy;

/// Calls handlers for the messages of queues. See the [module](super) for what becomes of a message.
///
/// ```
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kombu_core::Result<()> {
/// use std::time::Duration;
/// use kombu_core::worker::{Job, Worker};
/// use kombu_core::{Connection, Queue, RetryPolicy};
///
/// # let connection =
/// #     Connection::builder("memory://").transport(MemoryTransport::new()).connect().await?;
/// let (stop, stopped) = tokio::sync::oneshot::channel();
/// let stop = std::sync::Mutex::new(Some(stop));
/// let videos = Queue::new("video");
/// connection.producer().await?.publish(&"cats").to_queue(&videos).await?;
///
/// Worker::new(&connection)
///     .on(&videos, move |job: Job| {
///         let stop = stop.lock().unwrap().take();
///         async move {
///             let name: String = job.decode()?;
///             assert_eq!(name, "cats");
///             if let Some(stop) = stop {
///                 let _ = stop.send(());
///             }
///             Ok::<(), kombu_core::Error>(())
///         }
///     })
///     .concurrency(8)
///     .deadline(Duration::from_secs(60))
///     .retry(RetryPolicy::message())
///     .dead_letters(Queue::new("video.failed"))
///     .run(async { drop(stopped.await) })
///     .await?;
/// # connection.close().await
/// # }
/// ```
///
/// # Kombu
///
/// `kombu.mixins.ConsumerMixin` and `ConsumerProducerMixin`. Handlers run side by side; heartbeats
/// are not their matter; an error costs its message only.
#[must_use = "a worker does nothing until it is run"]
pub struct Worker {
    pub(super) connection: Connection,
    pub(super) queues: Vec<(Queue, Handler)>,
    pub(super) layers: Vec<Layer>,
    pub(super) producer: Option<Producer>,
    pub(super) concurrency: usize,
    pub(super) prefetch: Option<u16>,
    pub(super) accept: Option<Accept>,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: RetryPolicy,
    pub(super) waits_on_broker: bool,
    pub(super) dead_letters: Option<Queue>,
    pub(super) grace: Duration,
}

impl Worker {
    /// A worker without queues, which handles one message at a time.
    pub fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            queues: Vec::new(),
            layers: Vec::new(),
            producer: None,
            concurrency: 1,
            prefetch: None,
            accept: None,
            deadline: None,
            retry: RetryPolicy::once(),
            waits_on_broker: false,
            dead_letters: None,
            grace: Duration::from_secs(30),
        }
    }

    /// Calls `handler` for each message of a queue, which is declared.
    ///
    /// A handler that blocks its thread cannot be interrupted, neither by the deadline nor by a
    /// stop: give such work to `tokio::task::spawn_blocking`.
    pub fn on<F, Fut>(mut self, queue: impl Into<Queue>, handler: F) -> Self
    where
        F: Fn(Job) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoVerdict> + Send + 'static,
    {
        self.queues.push((queue.into(), chain::handler(handler)));
        self
    }

    /// As [`on`](Self::on), with the decoded body. A message whose body cannot be decoded is given
    /// up.
    pub fn on_value<T, F, Fut>(self, queue: impl Into<Queue>, handler: F) -> Self
    where
        T: DeserializeOwned + Send,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoVerdict> + Send + 'static,
    {
        self.on(queue, move |job: Job| {
            let handled = job.decode().map(&handler);
            async move {
                match handled {
                    Ok(handled) => handled.await.into_verdict(),
                    Err(error) => Verdict::Reject(error.to_string()),
                }
            }
        })
    }

    /// Wraps all handlers: `layer` gets each message, and what is [next](Next). The first layer is
    /// the outermost. The deadline covers layers and handler together.
    ///
    /// ```
    /// # use kombu_core::worker::{Job, Next, Worker};
    /// # fn example(worker: Worker) -> Worker {
    /// worker.layer(|job: Job, next: Next| async move {
    ///     let begun = std::time::Instant::now();
    ///     let verdict = next.run(job.clone()).await;
    ///     println!("{} took {:?}: {verdict:?}", job.queue(), begun.elapsed());
    ///     verdict
    /// })
    /// # }
    /// ```
    pub fn layer<F, Fut>(mut self, layer: F) -> Self
    where
        F: Fn(Job, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoVerdict> + Send + 'static,
    {
        self.layers.push(chain::layer(layer));
        self
    }

    /// How many messages are handled at a time, at least 1. Default: 1.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// The most unsettled messages per queue, those that wait to be tried again included; 0 is no
    /// limit. Default: four times the concurrency.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = Some(messages);
        self
    }

    /// What bodies may be, by serializer name or content type. Default: the connection's.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = Some(accept.into());
        self
    }

    /// How long one message may be worked on. Default: no limit.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// When a message whose handler failed is tried again, and how often:
    /// [`RetryPolicy::message`] suits most. Default: [`RetryPolicy::once`], never.
    ///
    /// The worker holds the message meanwhile, one of its [`prefetch`](Self::prefetch) but none of
    /// its [`concurrency`](Self::concurrency). A policy's deadline has no meaning here.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// As [`retry`](Self::retry), but the broker holds the message meanwhile
    /// ([`Publication::delay`](crate::Publication::delay)): for waits of minutes and more. Running
    /// the worker is an error, `Unsupported`, where the broker cannot.
    pub fn retry_on_broker(mut self, policy: RetryPolicy) -> Self {
        self.waits_on_broker = true;
        self.retry(policy)
    }

    /// Where messages go that are given up, with the reason in the header
    /// [`ERROR_HEADER`](super::ERROR_HEADER). Default: they are rejected.
    pub fn dead_letters(mut self, queue: impl Into<Queue>) -> Self {
        self.dead_letters = Some(queue.into());
        self
    }

    /// What handlers and retries publish with. Default: a producer of the worker's own on its
    /// connection. One on another connection keeps a broker that blocks publishers from holding up
    /// acknowledgements too.
    pub fn producer(mut self, producer: Producer) -> Self {
        self.producer = Some(producer);
        self
    }

    /// How long handlers that are at work when the worker stops may go on. Default: 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Works until `shutdown` resolves or the connection is closed.
    ///
    /// At the end nothing new is fetched; what was fetched goes back to its queue; what waits to
    /// be tried again is published at once; handlers at work have their [grace](Self::grace), then
    /// they are dropped and their messages go back. When it returns, all settlements are sent.
    ///
    /// # Errors
    ///
    /// Those of starting a consumer, and what ended the consumer by itself.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, running handlers are dropped, and their messages go back.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        run::run(self, shutdown).await
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues: Vec<_> = self.queues.iter().map(|(queue, _)| queue.name()).collect();
        f.debug_struct("Worker")
            .field("queues", &queues)
            .field("concurrency", &self.concurrency)
            .field("deadline", &self.deadline)
            .field("retry", &self.retry)
            .field("dead_letters", &self.dead_letters)
            .finish_non_exhaustive()
    }
}
