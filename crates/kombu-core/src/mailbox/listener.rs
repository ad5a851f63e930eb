//! A node that listens.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;

use super::matcher::Matcher;
use super::node::{Node, Request};
use super::place::reply_exchange;
use super::wire::{CLOCK, ERROR, EXPIRES, Order, ReplyTo, TICKET, clock, clock_header, now};
use crate::consumer::{Consumer, Delivery};
use crate::error::{ErrorKind, Result};
use crate::producer::Producer;
use crate::value::{Table, Value};

/// A node that hears requests; [`run`](Self::run) serves them.
#[derive(Debug)]
pub struct Listener {
    node: Arc<Node>,
    producer: Producer,
    consumer: Consumer,
}

impl Listener {
    pub(super) async fn start(node: Node) -> Result<Self> {
        let mailbox = &node.mailbox;
        let queue = mailbox.node_queue(&node.name).await?;
        let producer = mailbox.connection.producer().await?.serializer(&mailbox.serializer);
        let consumer = mailbox
            .connection
            .consumer(queue)
            .no_ack(true)
            .accept([mailbox.serializer.as_str()])
            .start()
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::ResourceLocked => error.with("node_in_use", &node.name),
                _ => error,
            })?;
        Ok(Self { node: Arc::new(node), producer, consumer })
    }

    /// Serves requests, many at a time, until `shutdown` resolves or the connection is closed.
    /// Requests being served then are dropped.
    ///
    /// # Errors
    ///
    /// What ended the consumer by itself.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: requests being served are dropped.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let mut served = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let ended = loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break Ok(()),
                Some(_ended) = served.join_next() => {}
                next = self.consumer.next(), if served.len() < AT_ONCE => match next {
                    Some(Ok(delivery)) => {
                        let (node, producer) = (Arc::clone(&self.node), self.producer.clone());
                        served.spawn(async move { node.hear(&producer, &delivery).await });
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            }
        };
        served.shutdown().await;
        ended.and(self.consumer.close().await)
    }
}

impl Node {
    /// Serves a request, if it is for this node.
    async fn hear(&self, producer: &Producer, delivery: &Delivery) {
        self.mailbox.clock.adjust(clock(delivery));
        let order: Order = match delivery.decode() {
            Ok(order) => order,
            Err(error) => {
                tracing::warn!(%error, node = self.name, "a request cannot be read");
                return;
            }
        };
        let expires = delivery.headers().get(EXPIRES).and_then(Value::as_f64).unwrap_or_default();
        let late = self.drops_expired && expires > 0.0 && now() > expires;
        if late || !self.is_meant(&order) {
            return;
        }
        let Order { method, arguments, ticket, reply_to, .. } = order;
        let arguments = match arguments {
            Value::Table(arguments) => arguments,
            _ => Table::new(),
        };
        let result = self.serve(Request { method: method.clone(), arguments }).await;
        let value = result.unwrap_or_else(|error| {
            tracing::warn!(error, method, node = self.name, "a method failed");
            Value::Table(Table::new().with(ERROR, error))
        });
        if let Some(reply_to) = reply_to
            && let Err(error) = self.reply(producer, value, ticket, reply_to).await
        {
            tracing::warn!(%error, method, node = self.name, "a reply was not sent");
        }
    }

    fn is_meant(&self, order: &Order) -> bool {
        match (&order.destination, &order.pattern, &order.matcher) {
            (Some(nodes), ..) if !nodes.is_empty() => nodes.contains(&self.name),
            (_, Some(pattern), Some(matcher)) => {
                let matcher = Matcher::from_name(matcher);
                matcher.is_some_and(|matcher| matcher.matches(pattern, &self.name))
            }
            _ => true,
        }
    }

    async fn serve(&self, request: Request) -> Result<Value, String> {
        let Some(method) = self.methods.get(&request.method) else {
            return Err(format!("there is no method {:?}", request.method));
        };
        let served = AssertUnwindSafe(async { method(request).await }).catch_unwind().await;
        served.unwrap_or_else(|_panic| Err("the method panicked".to_owned()))
    }

    async fn reply(
        &self,
        producer: &Producer,
        value: Value,
        ticket: Option<String>,
        reply_to: ReplyTo,
    ) -> Result<()> {
        producer
            .publish(&Table::new().with(&self.name, value))
            .to(reply_exchange(reply_to.exchange), reply_to.routing_key)
            .header(TICKET, ticket)
            .header(CLOCK, clock_header(self.mailbox.clock.forward()))
            .await
    }
}

/// The most requests that are served at a time.
const AT_ONCE: usize = 100;
