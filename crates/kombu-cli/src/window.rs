//! Publications in flight: many at once, in order, a bounded number.

use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

/// The most publications in flight.
pub(crate) const LIMIT: usize = 1000;

/// Publications that are not confirmed yet, the oldest first. `T` is what a confirm is good for.
pub(crate) struct Window<T> {
    pending: FuturesOrdered<Pin<Box<dyn Future<Output = kombu::Result<T>> + Send>>>,
}

impl<T> Window<T> {
    pub(crate) fn new() -> Self {
        Self { pending: FuturesOrdered::new() }
    }

    /// Adds a publication. It is sent when the window is next waited for, after those before it.
    pub(crate) fn push(
        &mut self,
        publication: impl Future<Output = kombu::Result<T>> + Send + 'static,
    ) {
        self.pending.push_back(Box::pin(publication));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < LIMIT
    }

    /// The fate of the oldest publication; `None` at once when there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<kombu::Result<T>> {
        self.pending.next().await
    }
}
