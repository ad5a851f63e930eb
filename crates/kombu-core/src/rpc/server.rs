//! Answering.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::ERROR_HEADER;
use crate::codec::Accept;
use crate::connection::Connection;
use crate::consumer::{Consumer, Delivery};
use crate::entity::Queue;
use crate::error::{Error, Result};
use crate::producer::{Producer, Publication};

/// A server under construction; [`start`](Self::start) declares its queue and subscribes.
#[derive(Debug)]
#[must_use = "a server answers nothing until it is started"]
pub struct RpcServerBuilder {
    connection: Connection,
    queue: Queue,
    concurrency: u16,
    time_limit: Option<Duration>,
    grace: Duration,
    serializer: Option<String>,
    accept: Option<Accept>,
}

impl Connection {
    /// Starts to configure a server of the requests in a queue.
    pub fn rpc_server(&self, queue: impl Into<Queue>) -> RpcServerBuilder {
        RpcServerBuilder {
            connection: self.clone(),
            queue: queue.into(),
            concurrency: 1,
            time_limit: None,
            grace: Duration::from_secs(30),
            serializer: None,
            accept: None,
        }
    }
}

impl RpcServerBuilder {
    /// How many requests are worked on at once, and fetched. Default: 1.
    pub fn concurrency(mut self, requests: u16) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// How long one request may be worked on; one that takes longer is dropped, and answered with
    /// a failure. Default: no limit.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How long the end waits for requests that are worked on; what is not done then is for another
    /// server. Default: 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What replies are written with, by name. Default: as each request was; see
    /// [`Producer::reply`](crate::Producer::reply).
    pub fn serializer(mut self, name: impl Into<String>) -> Self {
        self.serializer = Some(name.into());
        self
    }

    /// What the bodies of requests may be. Default: that of the connection.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = Some(accept.into());
        self
    }

    /// Declares the queue, subscribes, and returns when requests can come.
    ///
    /// # Errors
    ///
    /// Those of starting a consumer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was started is ended.
    pub async fn start(self) -> Result<RpcServer> {
        let mut consumer =
            self.connection.consumer(self.queue).prefetch(self.concurrency).grace(self.grace);
        if let Some(accept) = self.accept {
            consumer = consumer.accept(accept);
        }
        let mut producer = self.connection.producer().await?;
        if let Some(serializer) = self.serializer {
            producer = producer.serializer(serializer);
        }
        let consumer = consumer.start().await?;
        let concurrency = self.concurrency.into();
        Ok(RpcServer { consumer, producer, concurrency, time_limit: self.time_limit })
    }
}

/// Answers the requests of a queue. Several servers of one queue share its requests.
///
/// A request is acknowledged when the broker has its reply: one whose server dies is carried out
/// again by another. One without `reply_to` is carried out and not answered.
#[derive(Debug)]
pub struct RpcServer {
    consumer: Consumer,
    producer: Producer,
    concurrency: usize,
    time_limit: Option<Duration>,
}

impl RpcServer {
    /// Answers each request with what `handler` makes of it, until `shutdown` resolves.
    ///
    /// A request that cannot be read, a handler that returns an error, panics or takes too long, and
    /// a result that cannot be written are answered with a failure, whose text is the error's; the
    /// server goes on. Of a request without `reply_to`, such a failure is logged and its message is
    /// rejected.
    ///
    /// # Errors
    ///
    /// What ended the consumer by itself.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, requests that are worked on go back to the queue.
    pub async fn serve<T, R, E, F, Fut>(
        self,
        shutdown: impl Future<Output = ()> + Send,
        handler: F,
    ) -> Result<()>
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + Sync + 'static,
        E: Display + Send + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
    {
        let Self { consumer, producer, concurrency, time_limit } = self;
        let handler = Arc::new(handler);
        let answer = move |request: Delivery| {
            let (handler, producer) = (Arc::clone(&handler), producer.clone());
            async move {
                let result = carry_out(&request, &*handler, time_limit).await;
                let handed_in = match &result {
                    Ok(reply) => hand_in(&producer, &request, reply).await,
                    Err(failure) => hand_in_failure(&producer, &request, failure).await,
                };
                settle(request, handed_in).await
            }
        };
        consumer.run(concurrency, shutdown, answer).await
    }
}

/// Does what is asked for; every failure becomes a text.
async fn carry_out<T, R, E, F, Fut>(
    request: &Delivery,
    handler: &F,
    limit: Option<Duration>,
) -> Result<R, String>
where
    T: DeserializeOwned,
    E: Display,
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<R, E>>,
{
    let argument = request.decode().map_err(|error| error.to_string())?;
    // What unwinds is dropped as a whole.
    let work = AssertUnwindSafe(async { handler(argument).await }).catch_unwind();
    let done = match limit {
        Some(limit) => timeout(limit, work)
            .await
            .map_err(|_elapsed| format!("it took longer than {limit:?}"))?,
        None => work.await,
    };
    done.map_err(|_panic| "the handler panicked".to_owned())?.map_err(|error| error.to_string())
}

/// Publishes a reply, if one is wanted.
async fn hand_in<R: Serialize>(producer: &Producer, request: &Delivery, reply: &R) -> Result<()> {
    if request.properties().reply_to.is_none() {
        return Ok(());
    }
    match producer.reply(request, reply).await {
        Err(error) if error.kind() == crate::ErrorKind::Encode => {
            hand_in_failure(producer, request, &error.to_string()).await
        }
        published => published,
    }
}

async fn hand_in_failure(producer: &Producer, request: &Delivery, failure: &str) -> Result<()> {
    tracing::warn!(queue = request.queue(), failure, "a request failed");
    if request.properties().reply_to.is_none() {
        return Err(Error::new(crate::ErrorKind::Remote, failure.to_owned()));
    }
    let reply: Publication = producer.reply(request, &());
    reply.header(ERROR_HEADER, failure).await
}

/// Acknowledges a request that was answered. One whose reply is not out yet because of the link is
/// to be carried out again; one whose reply the broker will not have is given up.
async fn settle(request: Delivery, answered: Result<()>) -> Result<()> {
    match answered {
        Ok(()) => request.ack().await,
        Err(error) if error.is_recoverable() => {
            tracing::warn!(%error, "the reply was not published, the request goes back");
            request.requeue().await
        }
        Err(error) => {
            tracing::debug!(%error, "the request is given up");
            request.reject().await
        }
    }
}
