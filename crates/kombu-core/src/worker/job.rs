//! What a handler works on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::redelivery::{self, EXCHANGE_HEADER, ROUTING_KEY_HEADER};
use crate::consumer::Delivery;
use crate::producer::Producer;
use crate::value::Value;

/// A message that a handler works on. It reads like a [`Delivery`]; the worker settles it.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Job {
    delivery: Arc<Delivery>,
    producer: Producer,
}

impl Job {
    pub(super) fn new(delivery: Arc<Delivery>, producer: Producer) -> Self {
        Self { delivery, producer }
    }

    /// Which attempt this is: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        redelivery::attempts(self.headers()).saturating_add(1)
    }

    /// The worker's producer.
    ///
    /// # Kombu
    ///
    /// `ConsumerProducerMixin.producer`.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// The exchange that the message was published to at first, whichever attempt this is.
    #[must_use]
    pub fn exchange(&self) -> &str {
        self.first(EXCHANGE_HEADER).unwrap_or_else(|| self.delivery.exchange())
    }

    /// The routing key that it was published with at first.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        self.first(ROUTING_KEY_HEADER).unwrap_or_else(|| self.delivery.routing_key())
    }

    fn first(&self, header: &str) -> Option<&str> {
        self.headers().get(header).and_then(Value::as_str)
    }
}

impl Deref for Job {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("attempt", &self.attempt())
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}
