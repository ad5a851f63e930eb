//! Calling.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::calls::Calls;
use super::{ERROR_HEADER, reply_queue};
use crate::codec::Accept;
use crate::connection::{Connection, lock};
use crate::consumer::{Consumer, Delivery};
use crate::error::{Error, ErrorKind, Result};
use crate::id::uuid;
use crate::producer::{IntoTarget, Producer, Publication};

/// A client under construction; [`start`](Self::start) declares its reply queue and listens.
#[derive(Debug)]
#[must_use = "a client calls nothing until it is started"]
pub struct RpcClientBuilder {
    connection: Connection,
    timeout: Duration,
    serializer: String,
    accept: Option<Accept>,
    mandatory: bool,
}

impl Connection {
    /// Starts to configure a client that calls servers over this connection.
    pub fn rpc_client(&self) -> RpcClientBuilder {
        RpcClientBuilder {
            connection: self.clone(),
            timeout: Duration::from_secs(30),
            serializer: "json".to_owned(),
            accept: None,
            mandatory: false,
        }
    }
}

impl RpcClientBuilder {
    /// How long a call may take in all, from connecting to the reply. Default: 30 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What requests are written with, by name. Default: JSON.
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = name.into();
        self
    }

    /// What the bodies of replies may be. Default: that of the connection.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = Some(accept.into());
        self
    }

    /// Whether a call fails with `Unroutable` when its queue does not exist, rather than with
    /// `Timeout`. It needs a broker with the capability `mandatory`, and one on which an empty queue
    /// exists: that of a Python program on Redis does not. Default: false.
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = mandatory;
        self
    }

    /// Declares the reply queue, starts to listen to it, and returns when replies can come.
    ///
    /// # Errors
    ///
    /// Those of starting a consumer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was started is ended.
    pub async fn start(self) -> Result<RpcClient> {
        let broker = self.connection.capabilities().await?;
        let queue = reply_queue(&broker);
        let mut consumer = self.connection.consumer(&queue).no_ack(true);
        if let Some(accept) = self.accept {
            consumer = consumer.accept(accept);
        }
        let consumer = consumer.start().await?;
        let producer = self.connection.producer().await?;
        let calls = Arc::new(Calls::default());
        let (stop, stopped) = oneshot::channel();
        let listener = tokio::spawn(listen(consumer, Arc::clone(&calls), stopped));
        Ok(RpcClient {
            inner: Arc::new(Inner {
                producer: producer.serializer(self.serializer).mandatory(self.mandatory),
                reply_to: queue.name().to_owned(),
                expires: broker.message_expiration,
                calls,
                listener: Mutex::new(Some(Listener { _stop: stop, task: listener })),
            }),
            timeout: self.timeout,
        })
    }
}

/// Calls servers and waits for their replies. Cheap to clone; clones share one reply queue. Any
/// number of calls can be under way.
///
/// A call that times out or is dropped leaves nothing behind: its reply, should it still come, is
/// dropped where it arrives. When the link breaks, calls go on waiting, and replies that are sent
/// after the reply queue was made again arrive; replies that had been sent before are lost, and their
/// calls time out. A request may be carried out more than once.
///
/// Dropping the last clone ends it in the background; [`close`](Self::close) does so and waits.
#[derive(Clone)]
pub struct RpcClient {
    inner: Arc<Inner>,
    timeout: Duration,
}

struct Inner {
    producer: Producer,
    reply_to: String,
    /// Whether the broker can drop requests that nobody waits for any more.
    expires: bool,
    calls: Arc<Calls>,
    listener: Mutex<Option<Listener>>,
}

/// The task that receives replies; it ends when this is dropped.
struct Listener {
    _stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

impl RpcClient {
    /// Starts a call of the server of a queue.
    pub fn call<T: Serialize + ?Sized, R: DeserializeOwned>(
        &self,
        queue: &str,
        body: &T,
    ) -> Call<R> {
        Call {
            client: self.clone(),
            publication: self.inner.producer.publish(body).to("", queue),
            queue: queue.to_owned(),
            reply: PhantomData,
        }
    }

    /// Sends any publication as a request, and returns the reply as it came, also one that tells of a
    /// [`failure`](failure()). The publication gets `reply_to` and `correlation_id`, and expires when
    /// the call does where the broker can do that.
    ///
    /// # Errors
    ///
    /// Those of publishing, `Timeout`, and `Closed`.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the request may or may not be carried out; its reply is dropped.
    pub async fn request(&self, publication: Publication) -> Result<Delivery> {
        let Self { inner, timeout: limit } = self;
        let id = uuid();
        let waiting = inner.calls.wait(id.clone())?;
        let mut publication =
            publication.reply_to(&inner.reply_to).correlation_id(id).timeout(*limit);
        if inner.expires {
            publication = publication.expires(*limit);
        }
        let replied = timeout(*limit, async {
            publication.await?;
            waiting.reply().await
        });
        replied.await.unwrap_or_else(|_elapsed| {
            Err(Error::new(ErrorKind::Timeout, format!("no reply within {limit:?}")))
        })
    }

    /// The producer of requests, to make publications with.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.inner.producer
    }

    /// The same client with another time for its calls.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Ends it: calls under way fail with `Closed`, and the reply queue goes. Closing twice is no
    /// error.
    ///
    /// # Errors
    ///
    /// Those of the link.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it ends in the background.
    pub async fn close(&self) -> Result<()> {
        let listener = lock(&self.inner.listener).take();
        let Some(Listener { _stop: stop, task }) = listener else { return Ok(()) };
        drop(stop);
        task.await.unwrap_or_else(|_panicked| Ok(()))
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient")
            .field("reply_to", &self.inner.reply_to)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A call under construction; awaiting it sends the request and waits for the reply.
///
/// # Errors
///
/// `Remote` with the words of the other side when that failed, `Timeout` when no reply came in time,
/// `Decode` and `ContentDisallowed` for a reply that cannot be read, and those of publishing.
///
/// # Cancel safety
///
/// When dropped, the request may or may not be carried out; its reply is dropped.
#[must_use = "a call does nothing until it is awaited"]
pub struct Call<R> {
    client: RpcClient,
    publication: Publication,
    queue: String,
    reply: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Call<R> {
    /// How long it may take in all. Default: the client's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.client.timeout = timeout;
        self
    }

    /// Sends the request to an exchange, in place of the queue.
    pub fn to(self, target: impl IntoTarget, routing_key: impl Into<String>) -> Self {
        self.with(|publication| publication.to(target, routing_key))
    }

    /// Says more about the request, such as its headers or priority.
    pub fn with(mut self, change: impl FnOnce(Publication) -> Publication) -> Self {
        self.publication = change(self.publication);
        self
    }

    async fn make(self) -> Result<R> {
        let explain = |error: Error| error.during("call").with("queue", &self.queue);
        let reply = self.client.request(self.publication).await.map_err(explain)?;
        if let Some(error) = failure(&reply) {
            return Err(explain(error));
        }
        reply.decode().map_err(explain)
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for Call<R> {
    type Output = Result<R>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<R>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("publication", &self.publication).finish_non_exhaustive()
    }
}

/// The failure that a reply tells of, if it does: an error of kind `Remote`, with the words of the
/// other side.
#[must_use]
pub fn failure(reply: &Delivery) -> Option<Error> {
    let text = reply.headers().get(ERROR_HEADER)?.as_str().unwrap_or("it does not say why");
    Some(Error::new(ErrorKind::Remote, text.to_owned()))
}

/// Hands replies to those who wait for them, until the client ends or the consumer does.
async fn listen(
    mut consumer: Consumer,
    calls: Arc<Calls>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<()> {
    let reason = loop {
        tokio::select! {
            _stop_dropped = &mut stopped => break Error::closed("client"),
            reply = consumer.next() => match reply {
                Some(Ok(reply)) => calls.answer(reply),
                Some(Err(error)) => break error,
                None => break Error::closed("connection"),
            },
        }
    };
    calls.end(reason);
    consumer.close().await
}
