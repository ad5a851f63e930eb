//! The producer.

use std::fmt;
use std::future::IntoFuture as _;
use std::sync::Arc;

use serde::Serialize;

use super::link::Link;
use crate::error::Result;
use crate::producer::Publication;

/// Publishes messages, each confirmed by the broker when the call returns. Cheap to clone; threads
/// that publish at the same time share round trips.
#[derive(Clone)]
pub struct Producer {
    link: Arc<Link>,
    producer: crate::Producer,
}

impl Producer {
    pub(super) fn new(link: Arc<Link>, producer: crate::Producer) -> Self {
        Self { link, producer }
    }

    /// Changes what publications start from, such as by `|producer| producer.serializer("json")`.
    #[must_use]
    pub fn with(self, change: impl FnOnce(crate::Producer) -> crate::Producer) -> Self {
        Self { link: self.link, producer: change(self.producer) }
    }

    /// Publishes a value. `address` says where it goes and all else about it:
    /// `|message| message.to(&media, "video").priority(5)`.
    ///
    /// # Errors
    ///
    /// Those of a [`Publication`].
    pub fn publish<T: Serialize + ?Sized>(
        &self,
        body: &T,
        address: impl FnOnce(Publication) -> Publication,
    ) -> Result<()> {
        self.link.wait(address(self.producer.publish(body)).into_future())
    }

    /// Publishes what `publications` makes of the async producer, in order, and waits for all
    /// confirms; they share round trips. One result per publication.
    pub fn publish_batch<I: IntoIterator<Item = Publication> + Send>(
        &self,
        publications: impl FnOnce(&crate::Producer) -> I,
    ) -> Vec<Result<()>> {
        self.link.wait(self.producer.publish_batch(publications(&self.producer)))
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.producer.fmt(f)
    }
}
