//! Asking nodes.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::matcher::Matcher;
use super::place::Mailbox;
use super::wire::{CLOCK, ERROR, EXPIRES, Order, ReplyTo, TICKET, clock, clock_header, now};
use crate::consumer::{Consumer, Delivery};
use crate::entity::DeliveryMode;
use crate::error::{Error, ErrorKind, Result};
use crate::id::uuid;
use crate::value::{Table, Value};

/// What both kinds of requests are made of.
struct Wish {
    mailbox: Mailbox,
    method: String,
    arguments: Table,
    destination: Option<Vec<String>>,
    pattern: Option<(String, Matcher)>,
}

impl Wish {
    async fn send(self, ticket: Option<&str>, expires: f64) -> Result<()> {
        let mailbox = &self.mailbox;
        let (pattern, matcher) = self.pattern.unzip();
        let order = Order {
            method: self.method,
            arguments: Value::Table(self.arguments),
            destination: self.destination,
            pattern,
            matcher: matcher.map(|matcher| matcher.name().to_owned()),
            ticket: ticket.map(str::to_owned),
            reply_to: ticket.map(|ticket| ReplyTo {
                exchange: mailbox.reply_exchange().name().to_owned(),
                routing_key: ticket.to_owned(),
            }),
        };
        let producer = mailbox.connection.producer().await?;
        producer
            .serializer(&mailbox.serializer)
            .publish(&order)
            .to(mailbox.exchange(), "")
            // Kombu's, whatever the exchange is.
            .delivery_mode(DeliveryMode::Persistent)
            .header(CLOCK, clock_header(mailbox.clock.forward()))
            .header(EXPIRES, expires)
            .await
    }
}

macro_rules! wishes {
    ($($name:ident),+) => {$(
        impl $name {
            /// Adds an argument, by its name at the method.
            pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
                self.wish.arguments.insert(name, value);
                self
            }

            /// Adds many arguments.
            pub fn arguments(mut self, arguments: Table) -> Self {
                self.wish.arguments.extend(arguments);
                self
            }

            /// Asks those nodes only whose name matches. Nodes that are asked by name do not look
            /// at it.
            pub fn matching(mut self, pattern: impl Into<String>, matcher: Matcher) -> Self {
                self.wish.pattern = Some((pattern.into(), matcher));
                self
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("mailbox", &self.wish.mailbox)
                    .field("method", &self.wish.method)
                    .field("destination", &self.wish.destination)
                    .finish_non_exhaustive()
            }
        }
    )+};
}

wishes!(Call, Cast);

/// A request without a reply; awaiting it sends it.
///
/// # Errors
///
/// Those of publishing.
///
/// # Cancel safety
///
/// Not cancel safe: when dropped, the request may or may not have been sent.
#[must_use = "a request does nothing until it is awaited"]
pub struct Cast {
    wish: Wish,
}

impl Cast {
    pub(super) fn new(mailbox: Mailbox, method: String, destination: Option<Vec<String>>) -> Self {
        let arguments = Table::new();
        Self { wish: Wish { mailbox, method, arguments, destination, pattern: None } }
    }
}

impl IntoFuture for Cast {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wish.send(None, 0.0))
    }
}

/// A request for replies; awaiting it gathers them, in the order in which they come.
///
/// It ends when the [`limit`](Self::limit) or the [`timeout`](Self::timeout) is reached. That fewer
/// replies came than were asked for is no error: [`Reply::node`] says from whom.
///
/// # Errors
///
/// Those of publishing and consuming. What went wrong at a node is in its reply.
///
/// # Cancel safety
///
/// Cancel safe, but for the request, which may have been sent.
#[must_use = "a request does nothing until it is awaited"]
pub struct Call {
    wish: Wish,
    timeout: Duration,
    limit: Option<usize>,
}

impl Call {
    pub(super) fn new(mailbox: Mailbox, method: String, destination: Option<Vec<String>>) -> Self {
        let arguments = Table::new();
        Self {
            wish: Wish { mailbox, method, arguments, destination, pattern: None },
            timeout: Duration::from_secs(1),
            limit: None,
        }
    }

    /// How long to wait in all. Default: 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The most replies. Default: as many as nodes are asked by name, else no limit.
    pub fn limit(mut self, replies: usize) -> Self {
        self.limit = Some(replies);
        self
    }

    /// Sends the request, and hands out the replies one by one.
    ///
    /// # Errors
    ///
    /// Those of publishing and consuming.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, the request may or may not have been sent.
    pub async fn send(self) -> Result<Replies> {
        let Self { wish, timeout, limit } = self;
        let mailbox = wish.mailbox.clone();
        let ticket = uuid();
        let queue = mailbox.reply_queue(&ticket).await?;
        let consumer = mailbox
            .connection
            .consumer(&queue)
            .no_ack(true)
            .accept([mailbox.serializer.as_str()])
            .start()
            .await?;
        let mut replies = Replies {
            mailbox,
            consumer,
            queue: queue.name().to_owned(),
            ticket,
            left: limit.unwrap_or(usize::MAX),
            // From when the request is on its way.
            deadline: Instant::now(),
        };
        if let Err(error) = wish.send(Some(&replies.ticket), now() + timeout.as_secs_f64()).await {
            replies.close().await;
            return Err(error);
        }
        replies.deadline = Instant::now() + timeout;
        Ok(replies)
    }
}

impl IntoFuture for Call {
    type Output = Result<Vec<Reply>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Vec<Reply>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let mut replies = self.send().await?;
            let mut gathered = Vec::new();
            let failure = loop {
                match replies.next().await {
                    Some(Ok(reply)) => gathered.push(reply),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            };
            replies.close().await;
            failure.map_or(Ok(gathered), Err)
        })
    }
}

/// The replies to a call, as they come.
#[derive(Debug)]
pub struct Replies {
    mailbox: Mailbox,
    consumer: Consumer,
    queue: String,
    ticket: String,
    left: usize,
    deadline: Instant,
}

impl Replies {
    /// The next reply; `None` when the limit or the timeout of the call is reached.
    ///
    /// # Errors
    ///
    /// What ended the consumer.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Reply>> {
        while self.left > 0 {
            let delivery = match timeout_at(self.deadline, self.consumer.next()).await {
                Ok(Some(Ok(delivery))) => delivery,
                Ok(Some(Err(error))) => return Some(Err(error)),
                Ok(None) | Err(_) => break,
            };
            self.mailbox.clock.adjust(clock(&delivery));
            match self.read(&delivery) {
                Ok(Some(reply)) => {
                    self.left -= 1;
                    return Some(Ok(reply));
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a reply cannot be read"),
            }
        }
        None
    }

    /// Ends it; a reply that comes later goes nowhere.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it ends in the background. So it does when this is dropped.
    pub async fn close(self) {
        let ended = self.consumer.close().await;
        // Where a queue does not go with its consumer.
        let deleted = self.mailbox.connection.delete_queue(&self.queue).await;
        if let Err(error) = ended.and(deleted) {
            tracing::debug!(%error, queue = self.queue, "a reply queue was not deleted");
        }
    }

    /// Reads a reply; `None` for one to another call.
    fn read(&self, delivery: &Delivery) -> Result<Option<Reply>> {
        let headers = delivery.headers();
        let ticket = headers.get(TICKET).and_then(Value::as_str).unwrap_or(&self.ticket);
        let expires = headers.get(EXPIRES).and_then(Value::as_f64).unwrap_or_default();
        if ticket != self.ticket || (expires > 0.0 && now() > expires) {
            return Ok(None);
        }
        let body: Table = match delivery.decode()? {
            Value::Table(body) => body,
            _ => return Err(Error::new(ErrorKind::Decode, "a reply is to be a table")),
        };
        let mut entries = body.into_iter();
        let (Some((node, value)), None) = (entries.next(), entries.next()) else {
            return Err(Error::new(ErrorKind::Decode, "a reply is to have one node"));
        };
        Ok(Some(Reply { node, value }))
    }
}

/// What a node answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reply {
    /// The node's name.
    pub node: String,
    /// What its method returned.
    pub value: Value,
}

impl Reply {
    /// Why the method failed, if it did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.value.as_table().filter(|table| table.len() == 1)?.get(ERROR)?.as_str()
    }

    /// What the method returned.
    ///
    /// # Errors
    ///
    /// `Other` with the node's words when the method failed, `Decode` for a value of another form.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        match self.error() {
            Some(error) => Err(Error::new(ErrorKind::Other, error.to_owned())
                .during("call a node")
                .with("node", &self.node)),
            None => self
                .value
                .clone()
                .into_deserialize()
                .map_err(|error| error.during("read a reply").with("node", &self.node)),
        }
    }
}
