//! The callback form of a consumer, on top of the stream.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::Instrument as _;

use super::{Acker, Consumer, Delivery};
use crate::error::{ErrorKind, Result};
use crate::transport::Outcome;

impl Consumer {
    /// Hands every delivery to `handler`, at most `concurrency` at a time, until `shutdown`
    /// resolves. Handlers settle their deliveries; one that returns an error or panics without
    /// having done so gives its message up (rejected, so dead-lettered where the queue says).
    ///
    /// At the end nothing new is fetched, what was fetched goes back to its queue, and handlers
    /// that still work have [`grace`](crate::ConsumerBuilder::grace) to end; then they are dropped
    /// and their messages go back too.
    ///
    /// # Errors
    ///
    /// What ended the consumer by itself.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: when dropped, running handlers are dropped, and their messages go back.
    ///
    /// # Kombu
    ///
    /// The callbacks of `kombu.Consumer`, and the loop of `kombu.mixins.ConsumerMixin`.
    pub async fn run<F, Fut>(
        mut self,
        concurrency: usize,
        shutdown: impl Future<Output = ()> + Send,
        handler: F,
    ) -> Result<()>
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut running = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        let mut failure = None;
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_ended) = running.join_next() => {}
                next = self.next(), if running.len() < concurrency.max(1) => match next {
                    Some(Ok(delivery)) => {
                        running.spawn(handle(Arc::clone(&handler), delivery));
                    }
                    Some(Err(error)) => failure = Some(error),
                    None => break,
                },
            }
        }
        self.cancel().await;
        let given_back = self.give_back().await;
        let ended = timeout(self.grace, async { while running.join_next().await.is_some() {} });
        if ended.await.is_err() {
            tracing::warn!(handlers = running.len(), "handlers outlived the grace period");
            running.shutdown().await;
        }
        match failure {
            Some(error) => Err(error),
            None => given_back,
        }
    }
}

/// Runs one handler, and gives the message up if the handler failed without settling it.
async fn handle<F, Fut>(handler: Arc<F>, delivery: Delivery)
where
    F: Fn(Delivery) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let guard = PanicGuard(Some(delivery.acker()));
    let processing = delivery.processing();
    let result = async { handler(delivery).await }.instrument(processing.span()).await;
    let acker = guard.disarm();
    if let Err(error) = &result {
        processing.failed("handler");
        tracing::warn!(%error, "handler failed, giving the message up");
        if let Some(acker) = acker {
            give_up(&acker);
        }
    }
    processing.end();
}

/// Gives a message up when the handler unwinds.
struct PanicGuard(Option<Acker>);

impl PanicGuard {
    fn disarm(mut self) -> Option<Acker> {
        self.0.take()
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if let Some(acker) = self.0.take()
            && std::thread::panicking()
        {
            give_up(&acker);
        }
    }
}

fn give_up(acker: &Acker) {
    if let Err(error) = acker.settle(Outcome::Reject)
        && error.kind() != ErrorKind::MessageState
    {
        tracing::debug!(%error, "cannot give the message up");
    }
}
