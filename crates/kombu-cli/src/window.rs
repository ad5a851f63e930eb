//! Publications in flight: many at once, sent in order, a bounded number.

use std::future::{Future, IntoFuture as _};
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use kombu::{Error, ErrorKind, Publication, Result};
use tokio::time::{Instant, timeout_at};

use crate::connect::PUBLISH_TIMEOUT;

/// The most publications in flight.
pub(crate) const LIMIT: usize = 1000;

/// Publications that are not confirmed yet, the oldest first. `T` is what a confirm is good for.
pub(crate) struct Window<T> {
    pending: FuturesOrdered<Pin<Box<dyn Future<Output = Result<T>>>>>,
    /// When a confirm came last, or was first waited for.
    progress: Instant,
}

impl<T: 'static> Window<T> {
    pub(crate) fn new() -> Self {
        Self { pending: FuturesOrdered::new(), progress: Instant::now() }
    }

    /// Sends a publication after those before it; `explain` adds to its failure. When the link
    /// breaks before its confirm, `again`, the same once more, is sent on the next link.
    pub(crate) async fn push(
        &mut self,
        good_for: T,
        publication: Publication,
        again: Publication,
        explain: impl FnOnce(Error) -> Error + 'static,
    ) {
        if self.pending.is_empty() {
            self.progress = Instant::now();
        }
        let sent = publication.submit().await;
        self.pending.push_back(Box::pin(async move {
            let fate = match sent {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            let fate = match fate {
                Err(error) if is_of_the_link(&error) => publish_again(again, &error).await,
                fate => fate,
            };
            fate.map(|()| good_for).map_err(|error| explain(error.during("publish")))
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.pending.len() < LIMIT
    }

    /// The fate of the oldest publication; `None` at once when there is none. A broker that
    /// confirms nothing for longer than [`PATIENCE`] has failed. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<T>> {
        let fate = timeout_at(self.progress + PATIENCE, self.pending.next()).await;
        self.progress = Instant::now();
        fate.unwrap_or_else(|_elapsed| {
            self.pending.clear();
            let message = format!("the broker has confirmed nothing for {PATIENCE:?}");
            Some(Err(Error::new(ErrorKind::Timeout, message).during("publish")))
        })
    }
}

/// Publishes in a task of its own: the window is not polled while it sends, and whoever waits for
/// the new link meanwhile must not hold the others up.
async fn publish_again(publication: Publication, error: &Error) -> Result<()> {
    tracing::debug!(%error, "publishing again");
    tokio::spawn(publication.into_future()).await.unwrap_or_else(|_| Err(Error::closed("program")))
}

fn is_of_the_link(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::StaleDelivery)
}

/// A little more than publishing again may take, whose failure says more.
const PATIENCE: Duration = PUBLISH_TIMEOUT.saturating_add(Duration::from_secs(5));
