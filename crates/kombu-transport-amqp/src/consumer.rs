//! From lapin's consumer to the sink.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use kombu_core::transport::{ConsumerTag, DeliveryTag, Outcome, RawDelivery, Settle, Sink};
use kombu_core::{Error, ErrorKind, Value};
use lapin::message::Delivery;
use lapin::options::BasicCancelOptions;
use tokio::sync::{Notify, oneshot};

use crate::channel::Inner;
use crate::driver::tables::{properties_from_lapin, short};
use crate::error;

/// What a channel keeps of a consumer.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) stop: Arc<Notify>,
    /// Resolves when nothing enters the sink any more.
    pub(crate) done: oneshot::Receiver<()>,
}

/// Passes one consumer's deliveries on.
pub(crate) struct Forwarder {
    inner: Arc<Inner>,
    consumer: lapin::Consumer,
    tag: ConsumerTag,
    queue: Arc<str>,
    no_ack: bool,
    sink: Sink,
    stop: Arc<Notify>,
    _done: oneshot::Sender<()>,
}

/// Why a forwarder ends.
enum End {
    /// `cancel` was called, and the broker has agreed.
    Stopped,
    /// The sink's owner is gone.
    Abandoned,
    /// lapin's stream ended, perhaps with a reason.
    Over(Option<lapin::Error>),
}

impl Forwarder {
    pub(crate) fn new(
        inner: Arc<Inner>,
        consumer: lapin::Consumer,
        request: (ConsumerTag, Arc<str>, Sink),
        no_ack: bool,
    ) -> (Self, Handle) {
        let (tag, queue, sink) = request;
        let stop = Arc::new(Notify::new());
        let (sender, done) = oneshot::channel();
        let handle = Handle { stop: Arc::clone(&stop), done };
        let this = Self { inner, consumer, tag, queue, no_ack, sink, stop, _done: sender };
        (this, handle)
    }

    pub(crate) async fn run(mut self) {
        let end = self.forward().await;
        match end {
            End::Stopped => self.give_back_rest().await,
            End::Abandoned => {
                let cancelled = self
                    .inner
                    .control()
                    .basic_cancel(short(self.tag.as_str()), BasicCancelOptions::default());
                if cancelled.await.is_ok() {
                    self.give_back_rest().await;
                }
                drop(self.inner.take_consumer(&self.tag));
            }
            End::Over(Some(reason)) => self.inner.decide(error::lapin(reason)),
            End::Over(None) => {
                let by_broker = self.inner.control().status().connected();
                if self.inner.take_consumer(&self.tag).is_some() && by_broker {
                    self.sink.cancelled(self.tag.clone(), cancelled(&self.queue));
                }
            }
        }
    }

    async fn forward(&mut self) -> End {
        loop {
            let first = tokio::select! {
                biased;
                () = self.stop.notified() => return End::Stopped,
                item = self.consumer.next() => item,
                () = self.sink.closed() => return End::Abandoned,
            };
            let (batch, end) = self.gather(first);
            if let Some(end) = self.hand_over(batch).await.or(end) {
                return end;
            }
        }
    }

    /// All that lapin has at hand, and the end if it has come.
    fn gather(
        &mut self,
        first: Option<lapin::Result<Delivery>>,
    ) -> (Vec<RawDelivery>, Option<End>) {
        let mut batch = Vec::new();
        let mut next = Some(first);
        let end = loop {
            match next {
                Some(Some(Ok(delivery))) => batch.push(self.convert(delivery)),
                Some(Some(Err(error))) => break Some(End::Over(Some(error))),
                Some(None) => break Some(End::Over(None)),
                None => break None,
            }
            if batch.len() == BATCH {
                break None;
            }
            next = self.consumer.next().now_or_never();
        };
        self.inner.delivered(&batch, self.no_ack);
        (batch, end)
    }

    async fn hand_over(&mut self, mut batch: Vec<RawDelivery>) -> Option<End> {
        while !batch.is_empty() {
            match self.sink.try_deliver(batch) {
                Ok(()) => return None,
                Err(refused) => batch = refused,
            }
            let stopped = tokio::select! {
                biased;
                () = self.stop.notified() => true,
                has_room = self.sink.reserve() => !has_room,
            };
            if stopped {
                let end = if self.sink.is_closed() { End::Abandoned } else { End::Stopped };
                self.give_back(batch).await;
                return Some(end);
            }
        }
        None
    }

    /// Gives back what lapin still has of a consumer that the broker has ended.
    async fn give_back_rest(&mut self) {
        while let Some(Ok(delivery)) = self.consumer.next().await {
            let delivery = self.convert(delivery);
            self.inner.delivered(std::slice::from_ref(&delivery), self.no_ack);
            self.give_back(vec![delivery]).await;
        }
    }

    async fn give_back(&self, batch: Vec<RawDelivery>) {
        if self.no_ack {
            // The broker holds them for done: whoever ends the consumer still gets them.
            if let Err(lost) = self.sink.deliver(batch).await {
                let (tag, count) = (&self.tag, lost.len());
                tracing::warn!(%tag, count, "messages of a no-ack consumer are lost: it is gone");
            }
            return;
        }
        for delivery in batch {
            // It fails only for a channel that is gone, and then the broker has it back already.
            let _gone = self.inner.settle(Settle::one(delivery.tag, Outcome::Requeue));
        }
    }

    fn convert(&self, delivery: Delivery) -> RawDelivery {
        convert(delivery, self.tag.clone(), Arc::clone(&self.queue))
    }
}

/// A delivery in Kombu's form.
pub(crate) fn convert(from: Delivery, consumer: ConsumerTag, queue: Arc<str>) -> RawDelivery {
    let mut message = kombu_core::Message::default();
    message.body = Bytes::from(from.data);
    message.properties = Box::new(properties_from_lapin(&from.properties));
    // The broker counts in a header, on quorum queues; absent at the first delivery before 4.0.
    let count = message.properties.headers.get("x-delivery-count").and_then(Value::as_i64);
    let mut to = RawDelivery::new(DeliveryTag(from.delivery_tag), consumer, queue, message);
    to.exchange = from.exchange.into();
    to.routing_key = from.routing_key.into();
    to.redelivered = from.redelivered;
    to.delivery_count = count.and_then(|count| u32::try_from(count).ok());
    to
}

fn cancelled(queue: &str) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the broker ended the consumer: its queue was deleted or is moving to another node",
    )
    .with("queue", queue)
}

/// The most deliveries handed over together.
const BATCH: usize = 256;
