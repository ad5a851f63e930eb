//! The consumer as a stream of deliveries.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use tokio::sync::oneshot;

use super::pump::Started;
use super::{BodyContext, Delivery};
use crate::connection::{Lease, lock};
use crate::error::Result;
use crate::transport::{Batch, ConsumerTag, Outcome, RawDelivery, Settle};

/// A stream of deliveries that survives the loss of channel and link.
///
/// It yields an error only when it ends by itself: when subscribing again is refused for good or
/// the retry policy is exhausted. What had been fetched when a link broke is dropped here, for the
/// broker delivers it again.
///
/// Dropping it ends the subscription in the background; deliveries that are held can still be
/// settled. [`close`](Self::close) does so and waits.
///
/// # Kombu
///
/// `kombu.Consumer` and `Connection.drain_events`. Two consumers of one queue on one connection
/// both receive.
pub struct Consumer {
    started: Started,
    context: Arc<BodyContext>,
    pub(super) grace: Duration,
    /// What came in the last batch, and the channel it came through.
    buffer: VecDeque<RawDelivery>,
    lease: Option<Arc<Lease>>,
    no_ack: Vec<ConsumerTag>,
    pump_ended: bool,
    ended: bool,
}

impl Consumer {
    pub(super) fn new(started: Started, context: Arc<BodyContext>, grace: Duration) -> Self {
        Self {
            started,
            context,
            grace,
            buffer: VecDeque::new(),
            lease: None,
            no_ack: Vec::new(),
            pump_ended: false,
            ended: false,
        }
    }

    /// The next delivery; `None` after the consumer was cancelled and all that was fetched has
    /// come out.
    ///
    /// # Errors
    ///
    /// What ended the consumer; `None` follows.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Result<Delivery>> {
        poll_fn(|context| self.poll_delivery(context)).await
    }

    /// The names of its queues, as the broker chose them where it was asked to.
    #[must_use]
    pub fn queues(&self) -> Vec<Arc<str>> {
        lock(&self.started.current).queues.clone()
    }

    /// Ends the subscription: nothing new is fetched, what was fetched still comes out, then the
    /// stream ends. Cancelling twice is no error.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the subscription ends in the background.
    pub async fn cancel(&mut self) {
        let (request, mut done) = oneshot::channel();
        if self.started.cancel.send(request).await.is_err() {
            return;
        }
        // A transport with more at hand than fits waits for room: with `no_ack` it cannot give
        // messages back.
        loop {
            tokio::select! {
                biased;
                Some(batch) = self.started.deliveries.recv() => self.take(batch),
                _pump_ended = &mut done => return,
            }
        }
    }

    /// Ends the subscription, gives back what was fetched and not handed out, and waits until all
    /// settlements are sent. Deliveries still held can be settled afterwards.
    ///
    /// # Errors
    ///
    /// Those of the link; the messages go back all the same.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, what was fetched goes back when the channel is closed.
    pub async fn close(mut self) -> Result<()> {
        self.cancel().await;
        self.give_back().await
    }

    /// Gives back what was fetched and not handed out, first message last, so that the first is
    /// the head of the queue again.
    pub(crate) async fn give_back(&mut self) -> Result<()> {
        while let Ok(batch) = self.started.deliveries.try_recv() {
            self.take(batch);
        }
        let buffered = std::mem::take(&mut self.buffer);
        let Some(lease) = self.lease.clone().filter(|lease| !lease.is_dead()) else {
            return Ok(());
        };
        for raw in buffered.into_iter().rev() {
            if !self.no_ack.contains(&raw.consumer) {
                drop(lease.raw.settle(Settle::one(raw.tag, Outcome::Requeue))?);
            }
        }
        lease.raw.settled().await
    }

    pub(super) fn poll_delivery(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Delivery>>> {
        loop {
            if let Some(delivery) = self.pop() {
                return Poll::Ready(Some(Ok(delivery)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.poll_batch(context) {
                Poll::Ready(Some(batch)) => self.take(batch),
                Poll::Ready(None) => {
                    self.ended = true;
                    let failure = lock(&self.started.failure).take();
                    return Poll::Ready(failure.map(Err));
                }
                Poll::Pending => {
                    // About to wait: settlements gathered so far are worth sending.
                    if let Some(lease) = &self.lease {
                        lease.raw.flush();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// The next batch; `None` when the pump has ended and all that was fetched came out.
    fn poll_batch(&mut self, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        if let Poll::Ready(received) = self.started.deliveries.poll_recv(context) {
            return Poll::Ready(received);
        }
        if !self.pump_ended {
            // The answer is that the sender is gone; a oneshot is not to be polled after it.
            let _gone = ready!(Pin::new(&mut self.started.ended).poll(context));
            self.pump_ended = true;
        }
        // Once more: a batch may have come before the pump ended.
        Poll::Ready(self.started.deliveries.try_recv().ok())
    }

    fn pop(&mut self) -> Option<Delivery> {
        let lease = self.lease.as_ref()?;
        if lease.is_dead() {
            self.buffer.clear();
            return None;
        }
        let raw = self.buffer.pop_front()?;
        let no_ack = !self.no_ack.is_empty() && self.no_ack.contains(&raw.consumer);
        Some(Delivery::new(raw, no_ack, Arc::clone(lease), Arc::clone(&self.context)))
    }

    /// Takes a batch in, unless it came through a channel that is gone.
    fn take(&mut self, batch: Batch) {
        let current = lock(&self.started.current);
        if batch.epoch != current.epoch {
            return;
        }
        let same = self.lease.as_ref().is_some_and(|lease| Arc::ptr_eq(lease, &current.lease));
        if !same {
            self.buffer.clear();
            self.lease = Some(Arc::clone(&current.lease));
        }
        if self.no_ack.len() != current.no_ack.len() {
            self.no_ack.clone_from(&current.no_ack);
        }
        if self.buffer.is_empty() {
            self.buffer = batch.deliveries.into();
        } else {
            self.buffer.extend(batch.deliveries);
        }
    }
}

impl Stream for Consumer {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(ready!(self.poll_delivery(context)))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("current", &*lock(&self.started.current))
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
