//! The consumer and its deliveries.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::link::Link;
use crate::error::Result;

/// An iterator of deliveries that survives the loss of channel and link.
///
/// [`next`](Iterator::next) waits for a message. It yields an error only when the consumer ends by
/// itself, and ends when the connection is closed.
pub struct Consumer {
    link: Arc<Link>,
    consumer: crate::Consumer,
}

impl Consumer {
    pub(super) fn new(link: Arc<Link>, consumer: crate::Consumer) -> Self {
        Self { link, consumer }
    }

    /// The next delivery, waiting for it at most so long; `None` when none came, and at the end.
    ///
    /// # Errors
    ///
    /// What ended the consumer.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<Delivery>> {
        let consumer = &mut self.consumer;
        let next = self.link.wait(async { timeout(wait, consumer.next()).await });
        let next = next.ok().flatten().transpose()?;
        Ok(next.map(|delivery| Delivery::new(Arc::clone(&self.link), delivery)))
    }

    /// Ends the subscription: nothing new is fetched, what was fetched still comes out, then the
    /// iterator ends.
    pub fn cancel(&mut self) {
        self.link.wait(self.consumer.cancel());
    }

    /// Ends the subscription, gives back what was fetched and not handed out, and waits until all
    /// settlements are sent.
    ///
    /// # Errors
    ///
    /// Those of the link; the messages go back all the same.
    pub fn close(self) -> Result<()> {
        self.link.wait(self.consumer.close())
    }
}

impl Iterator for Consumer {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.link.wait(self.consumer.next())?;
        Some(next.map(|delivery| Delivery::new(Arc::clone(&self.link), delivery)))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.consumer.fmt(f)
    }
}

/// A received message. What it says is that of [`Delivery`](crate::Delivery), settling it is here.
///
/// Dropping it settles nothing: the message goes back to its queue when the consumer ends.
pub struct Delivery {
    link: Arc<Link>,
    delivery: crate::Delivery,
}

impl Delivery {
    pub(super) fn new(link: Arc<Link>, delivery: crate::Delivery) -> Self {
        Self { link, delivery }
    }

    /// Acknowledges it: the message is done with.
    ///
    /// # Errors
    ///
    /// `StaleDelivery` when the link it came through is gone: the broker gives the message again.
    pub fn ack(self) -> Result<()> {
        self.link.wait(self.delivery.ack())
    }

    /// Acknowledges it, and returns when the broker has it.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack), and those of the link.
    pub fn ack_confirmed(self) -> Result<()> {
        self.link.wait(self.delivery.ack_confirmed())
    }

    /// Gives it up: dead-lettered where its queue has a dead letter exchange, else dropped.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    pub fn reject(self) -> Result<()> {
        self.link.wait(self.delivery.reject())
    }

    /// Gives it back to the head of its queue.
    ///
    /// # Errors
    ///
    /// As for [`ack`](Self::ack).
    pub fn requeue(self) -> Result<()> {
        self.link.wait(self.delivery.requeue())
    }
}

impl Deref for Delivery {
    type Target = crate::Delivery;

    fn deref(&self) -> &crate::Delivery {
        &self.delivery
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivery.fmt(f)
    }
}
