//! The path of deliveries from a transport to a consumer.

use std::fmt;

use tokio::sync::mpsc;

use super::{ConsumerTag, RawDelivery};
use crate::error::Error;

/// Where a transport puts what a consumer receives. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    epoch: u64,
    deliveries: mpsc::Sender<Batch>,
    notices: mpsc::UnboundedSender<Notice>,
}

/// Deliveries of one epoch: of one channel of the consumer's life.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) epoch: u64,
    pub(crate) deliveries: Vec<RawDelivery>,
}

/// A consumer that the broker ended.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) epoch: u64,
    pub(crate) tag: ConsumerTag,
    pub(crate) reason: Error,
}

impl Sink {
    /// Hands over deliveries, in order; waits while the consumer has many batches before it.
    ///
    /// Give all that are at hand at once: a batch costs one wake-up.
    ///
    /// # Errors
    ///
    /// The deliveries, when the consumer is gone: give them back to their queues.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the batch is lost with the future. Use [`reserve`](Self::reserve) first
    /// where a fetched message must not be lost.
    pub async fn deliver(&self, deliveries: Vec<RawDelivery>) -> Result<(), Vec<RawDelivery>> {
        self.deliveries
            .send(Batch { epoch: self.epoch, deliveries })
            .await
            .map_err(|refused| refused.0.deliveries)
    }

    /// Hands over deliveries if there is room now.
    ///
    /// # Errors
    ///
    /// The deliveries, when there is no room or the consumer is gone.
    pub fn try_deliver(&self, deliveries: Vec<RawDelivery>) -> Result<(), Vec<RawDelivery>> {
        self.deliveries.try_send(Batch { epoch: self.epoch, deliveries }).map_err(|refused| {
            match refused {
                mpsc::error::TrySendError::Full(batch)
                | mpsc::error::TrySendError::Closed(batch) => batch.deliveries,
            }
        })
    }

    /// Waits for room, so that the next [`try_deliver`](Self::try_deliver) of a single caller
    /// succeeds unless the consumer goes. False when the consumer is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn reserve(&self) -> bool {
        self.deliveries.reserve().await.is_ok()
    }

    /// Says that the broker ended the consumer.
    pub fn cancelled(&self, tag: ConsumerTag, reason: Error) {
        let _gone = self.notices.send(Notice { epoch: self.epoch, tag, reason });
    }

    /// Whether the consumer is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.deliveries.is_closed()
    }

    /// Waits until the consumer is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) {
        self.deliveries.closed().await;
    }

    /// The same sink for the consumer's next channel: deliveries of older ones are stale.
    #[must_use]
    pub(crate) fn next_epoch(&self) -> Self {
        Self { epoch: self.epoch + 1, ..self.clone() }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// The receiving side of a [`Sink`], for tests of transports; consumers have their own.
#[derive(Debug)]
pub struct Inbox {
    pub(crate) deliveries: mpsc::Receiver<Batch>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
}

impl Inbox {
    /// The next batch; `None` when all sinks are gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Vec<RawDelivery>> {
        self.deliveries.recv().await.map(|batch| batch.deliveries)
    }

    /// The next consumer that the broker ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn notice(&mut self) -> Option<(ConsumerTag, Error)> {
        self.notices.recv().await.map(|notice| (notice.tag, notice.reason))
    }
}

/// A sink and its receiving side, with room for `batches` batches.
#[must_use]
pub fn sink(batches: usize) -> (Sink, Inbox) {
    let (deliveries, from_transport) = mpsc::channel(batches.max(1));
    let (notices, from_broker) = mpsc::unbounded_channel();
    (
        Sink { epoch: 0, deliveries, notices },
        Inbox { deliveries: from_transport, notices: from_broker },
    )
}
