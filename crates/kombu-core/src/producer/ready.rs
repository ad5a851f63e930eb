//! A publication that is decided: sent until it is confirmed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::publication::{Publication, Target};
use crate::channel::{Channel, FIRST_PAUSE, LONGEST_PAUSE, was_never_heard};
use crate::connection::{Entity, Lease};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Publishing;
use crate::transport::{Confirm, Publish};

/// A publication with everything decided.
pub(super) struct Ready {
    pub(super) channel: Channel,
    pub(super) publish: Arc<Publish>,
    pub(super) target: Target,
    pub(super) declare: Vec<Entity>,
    pub(super) deadline: Instant,
    pub(super) retry: bool,
    pub(super) observed: Publishing,
}

impl Ready {
    pub(super) async fn publish(self) -> Result<()> {
        let result = self.publish_until_confirmed().await;
        self.observed.end(&result);
        result
    }

    /// Sends until confirmed, on a new link when one breaks.
    async fn publish_until_confirmed(&self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        let mut declared_again = false;
        loop {
            let result = match self.send().await {
                Ok(sent) => self.confirmed(sent).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if self.may_retry(&error, pause) => {
                    tracing::debug!(%error, "publishing again");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) if self.forget_missing(&error) && !declared_again => {
                    declared_again = true;
                }
                other => return other,
            }
        }
    }

    /// Forgets that the exchange was declared when the broker says that it is missing: somebody
    /// deleted it since, and it is to be declared again.
    fn forget_missing(&self, error: &Error) -> bool {
        let Target::Exchange(exchange) = &self.target else { return false };
        let missing = error.kind() == ErrorKind::NotFound && exchange.is_declared();
        if missing {
            self.channel.shared().topology.remove_exchange(exchange.name());
        }
        missing
    }

    /// Declares what is to be declared, and hands the message to the transport.
    pub(super) async fn send(&self) -> Result<Sent> {
        if let Target::Exchange(exchange) = &self.target {
            self.channel.ensure_exchange(exchange).await?;
        }
        for entity in &self.declare {
            match entity {
                Entity::Exchange(exchange) => self.channel.ensure_exchange(exchange).await?,
                Entity::Queue(queue) => self.channel.ensure_queue(queue).await?,
            }
        }
        if self.publish.due_later().is_some() {
            Box::pin(self.check_delay()).await.map_err(|error| self.explain(error))?;
        }
        let lease = self.channel.lease(self.deadline).await.map_err(|error| self.explain(error))?;
        timeout_at(self.deadline, lease.raw.publish(Arc::clone(&self.publish)))
            .await
            .map_err(|_| self.channel.shared().timed_out("publish"))
            .flatten()
            .inspect_err(|error| self.channel.judge(&lease, error))
            .map_err(|error| self.explain(error))
            .map(|confirm| Sent { lease, confirm })
    }

    /// Refuses to delay where the broker cannot: a transport might not know of it.
    async fn check_delay(&self) -> Result<()> {
        let link = self.channel.shared().link(self.deadline).await?;
        if link.raw.capabilities().delayed_delivery {
            return Ok(());
        }
        let broker = link.raw.server().product;
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("{broker} cannot keep messages for later (capability delayed_delivery)"),
        )
        .with("url", &link.url))
    }

    async fn confirmed(&self, Sent { lease, confirm }: Sent) -> Result<()> {
        timeout_at(self.deadline, confirm)
            .await
            .map_err(|_| self.channel.shared().timed_out("publish").with("waited_for", "confirm"))
            .flatten()
            .inspect_err(|error| self.channel.judge(&lease, error))
            .map_err(|error| self.explain(error))
    }

    fn may_retry(&self, error: &Error, pause: Duration) -> bool {
        self.retry && was_never_heard(error) && Instant::now() + pause < self.deadline
    }

    fn explain(&self, error: Error) -> Error {
        error
            .during("publish")
            .with("exchange", format_args!("{:?}", self.publish.exchange))
            .with("routing_key", format_args!("{:?}", self.publish.routing_key))
    }
}

/// A publication on its way.
pub(super) struct Sent {
    lease: Arc<Lease>,
    pub(super) confirm: Confirm,
}

/// Sends all in order, then awaits the confirms in order.
pub(super) async fn batch(publications: impl IntoIterator<Item = Publication>) -> Vec<Result<()>> {
    // All are decided first: their deadlines run from now, not from their turn.
    let ready: Vec<_> = publications.into_iter().map(Publication::prepare).collect();
    let mut sent = Vec::with_capacity(ready.len());
    for ready in ready {
        sent.push(match ready {
            Ok(ready) => {
                let result = ready.send().await;
                Ok((ready, result))
            }
            Err(error) => Err(error),
        });
    }
    let mut results = Vec::with_capacity(sent.len());
    for item in sent {
        results.push(match item {
            Err(error) => Err(error),
            Ok((ready, result)) => {
                let result = match result {
                    Ok(sent) => ready.confirmed(sent).await,
                    Err(error) => Err(error),
                };
                match result {
                    Err(error) if ready.may_retry(&error, FIRST_PAUSE) => ready.publish().await,
                    other => {
                        ready.observed.end(&other);
                        other
                    }
                }
            }
        });
    }
    results
}
