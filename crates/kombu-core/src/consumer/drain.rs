//! The first messages of a consumer: so many, or until it is quiet, or for so long.

use std::fmt;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Consumer, ConsumerBuilder, Delivery};
use crate::error::{Error, ErrorKind, Result};

/// A stream of deliveries that ends: after a number of them, after a silence, or at a time.
///
/// What was fetched and not handed out goes back to its queue when it is [closed](Self::close) or
/// dropped. Deliveries are settled as those of any consumer.
///
/// ```
/// # use std::time::Duration;
/// # use kombu_core::Connection;
/// # use kombu_transport_memory::MemoryTransport;
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kombu_core::Result<()> {
/// # let builder = Connection::builder("memory://").transport(MemoryTransport::new());
/// let connection = builder.connect().await?;
/// let producer = connection.producer().await?;
/// connection.declare_queue(&"video".into()).await?;
/// for name in ["cats", "dogs", "owls"] {
///     producer.publish(name).to("", "video").await?;
/// }
///
/// let mut two = connection.consumer("video").drain(2).await?;
/// while let Some(delivery) = two.next().await {
///     delivery?.ack().await?;
/// }
/// two.close().await?;
///
/// // All that is there: it ends when nothing came for a while.
/// let quiet = Duration::from_millis(50);
/// let mut rest = connection.consumer("video").start().await?.drain().idle(quiet);
/// assert_eq!(rest.next().await.expect("one is left")?.decode::<String>()?, "owls");
/// assert!(rest.next().await.is_none());
/// # Ok(())
/// # }
/// ```
///
/// # Kombu
///
/// `kombu.common.drain_consumer`, and `itermessages` as [`ConsumerBuilder::drain`]. `eventloop` has
/// no counterpart, for nobody has to drive a connection here; its limit, timeout and
/// `ignore_timeouts` are [`limit`](Self::limit), [`idle`](Self::idle) and the absence of
/// [`required`](Self::required).
pub struct Drain {
    consumer: Consumer,
    left: Option<usize>,
    idle: Option<Duration>,
    end: Option<Instant>,
    required: bool,
    /// Set while it waits for a message.
    alarm: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl Consumer {
    /// Takes the first messages only. Without a further word, it is all of them.
    #[must_use]
    pub fn drain(self) -> Drain {
        Drain {
            consumer: self,
            left: None,
            idle: None,
            end: None,
            required: false,
            alarm: None,
            ended: false,
        }
    }
}

impl ConsumerBuilder {
    /// Starts the consumer for a number of messages, and fetches no more than that at once.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was started is ended.
    pub async fn drain(mut self, limit: usize) -> Result<Drain> {
        let most = u16::try_from(limit.max(1)).unwrap_or(u16::MAX);
        self.prefetch = if self.prefetch == 0 { most } else { self.prefetch.min(most) };
        Ok(self.start().await?.drain().limit(limit))
    }
}

impl Drain {
    /// Ends after so many messages.
    #[must_use]
    pub fn limit(mut self, messages: usize) -> Self {
        self.left = Some(messages);
        self
    }

    /// Ends when no message came for so long, counted from when one was asked for.
    #[must_use]
    pub fn idle(mut self, silence: Duration) -> Self {
        self.idle = Some(silence);
        self
    }

    /// Ends so long after now, whatever comes.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.end = Some(Instant::now() + time);
        self
    }

    /// Makes it an error, `Timeout`, when time ends it before its limit.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The next delivery; `None` at the end.
    ///
    /// # Errors
    ///
    /// What ended the consumer, and `Timeout` if it is [`required`](Self::required); `None` follows.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. A silence goes on being counted over calls that were dropped.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        poll_fn(|context| self.poll_delivery(context)).await
    }

    /// Ends the subscription and gives back what was fetched and not handed out. See
    /// [`Consumer::close`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn close(self) -> Result<()> {
        self.consumer.close().await
    }

    /// The consumer, to go on with.
    #[must_use]
    pub fn into_consumer(self) -> Consumer {
        self.consumer
    }

    fn poll_delivery(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Delivery>>> {
        if self.ended || self.left == Some(0) {
            self.ended = true;
            return Poll::Ready(None);
        }
        if let Poll::Ready(next) = self.consumer.poll_delivery(context) {
            self.alarm = None;
            match &next {
                Some(Ok(_)) => self.left = self.left.map(|left| left - 1),
                Some(Err(_)) | None => self.ended = true,
            }
            return Poll::Ready(next);
        }
        let Some(alarm) = self.alarm() else { return Poll::Pending };
        ready!(alarm.as_mut().poll(context));
        self.ended = true;
        Poll::Ready(self.required.then(|| Err(too_late(self.left))))
    }

    /// When waiting ends.
    fn alarm(&mut self) -> Option<&mut Pin<Box<Sleep>>> {
        if self.alarm.is_none() {
            let silence = self.idle.map(|idle| Instant::now() + idle);
            let at = silence.into_iter().chain(self.end).min()?;
            self.alarm = Some(Box::pin(sleep_until(at)));
        }
        self.alarm.as_mut()
    }
}

impl Stream for Drain {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_delivery(context)
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("consumer", &self.consumer)
            .field("left", &self.left)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

fn too_late(left: Option<usize>) -> Error {
    let error = Error::new(ErrorKind::Timeout, "the time passed").during("receive");
    match left {
        Some(left) => error.with("missing", left),
        None => error,
    }
}
