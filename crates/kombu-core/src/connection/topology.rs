//! What was declared through a connection, to be declared again on its next link.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::link::lock;
use crate::entity::{Binding, Exchange, Queue};
use crate::error::{Error, Result, Scope};
use crate::transport::{BindQueue, ExchangeBinding, RawChannel, RawConnection};

/// Something that can be declared: what [`Publication::declare`](crate::producer::Publication::declare)
/// takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Entity {
    /// An exchange.
    Exchange(Exchange),
    /// A queue with its bindings.
    Queue(Queue),
}

impl From<&Exchange> for Entity {
    fn from(exchange: &Exchange) -> Self {
        Self::Exchange(exchange.clone())
    }
}

impl From<&Queue> for Entity {
    fn from(queue: &Queue) -> Self {
        Self::Queue(queue.clone())
    }
}

impl From<Exchange> for Entity {
    fn from(exchange: Exchange) -> Self {
        Self::Exchange(exchange)
    }
}

impl From<Queue> for Entity {
    fn from(queue: Queue) -> Self {
        Self::Queue(queue)
    }
}

/// The record of declarations. It is also the cache that makes declaring before every publish
/// cheap: what it holds, the present link has.
#[derive(Debug, Default)]
pub(crate) struct Topology(Mutex<Record>);

#[derive(Clone, Debug, Default)]
struct Record {
    exchanges: BTreeMap<String, Exchange>,
    queues: BTreeMap<String, Queue>,
    queue_bindings: Vec<(String, Binding)>,
    exchange_bindings: Vec<(String, Binding)>,
}

impl Topology {
    pub(crate) fn has_exchange(&self, exchange: &Exchange) -> bool {
        lock(&self.0).exchanges.get(exchange.name()) == Some(exchange)
    }

    /// Whether the queue was declared just so. One that may go by itself is never taken for
    /// granted (Kombu's `can_cache_declaration`).
    pub(crate) fn has_queue(&self, queue: &Queue) -> bool {
        !queue.is_auto_delete()
            && !queue.arguments().contains("x-expires")
            && lock(&self.0).queues.get(queue.name()) == Some(queue)
    }

    pub(crate) fn add_exchange(&self, exchange: &Exchange) {
        if !exchange.is_passive() {
            lock(&self.0).exchanges.insert(exchange.name().to_owned(), exchange.clone());
        }
    }

    /// Records a queue with the exchanges of its bindings. One whose name the broker chose is its
    /// consumer's matter.
    pub(crate) fn remember(&self, queue: &Queue) {
        if queue.is_passive() || queue.name().is_empty() {
            return;
        }
        let mut record = lock(&self.0);
        for exchange in queue.bindings().iter().map(Binding::exchange) {
            if exchange.is_declared() && !exchange.is_passive() {
                record.exchanges.insert(exchange.name().to_owned(), exchange.clone());
            }
        }
        record.queues.insert(queue.name().to_owned(), queue.clone());
    }

    pub(crate) fn add_queue_binding(&self, queue: &str, binding: &Binding) {
        add(&mut lock(&self.0).queue_bindings, queue, binding);
    }

    pub(crate) fn add_exchange_binding(&self, destination: &str, binding: &Binding) {
        add(&mut lock(&self.0).exchange_bindings, destination, binding);
    }

    pub(crate) fn remove_queue_binding(&self, queue: &str, binding: &Binding) {
        let mut record = lock(&self.0);
        record.queue_bindings.retain(|(bound, known)| bound != queue || known != binding);
        // The queue's own bindings no longer hold: the next declaration makes them again.
        record.queues.remove(queue);
    }

    pub(crate) fn remove_exchange_binding(&self, destination: &str, binding: &Binding) {
        lock(&self.0)
            .exchange_bindings
            .retain(|(bound, known)| bound != destination || known != binding);
    }

    pub(crate) fn remove_exchange(&self, name: &str) {
        let mut record = lock(&self.0);
        record.exchanges.remove(name);
        record.queue_bindings.retain(|(_, binding)| binding.exchange().name() != name);
        record
            .exchange_bindings
            .retain(|(bound, binding)| bound != name && binding.exchange().name() != name);
        record.queues.retain(|_, queue| {
            !queue.bindings().iter().any(|known| known.exchange().name() == name)
        });
    }

    pub(crate) fn remove_queue(&self, name: &str) {
        let mut record = lock(&self.0);
        record.queues.remove(name);
        record.queue_bindings.retain(|(bound, _)| bound != name);
    }

    /// Declares everything again on a new link. What the broker refuses is reported, forgotten,
    /// and fails at its next use with the broker's own words.
    pub(crate) async fn redeclare(&self, raw: &dyn RawConnection) -> Result<()> {
        let record = lock(&self.0).clone();
        if record.exchanges.is_empty() && record.queues.is_empty() {
            return Ok(());
        }
        let mut channel = raw.open_channel().await?;
        for exchange in record.exchanges.values() {
            if let Err(error) = channel.declare_exchange(exchange).await {
                self.refused(&error, "exchange", exchange.name())?;
                self.remove_exchange(exchange.name());
                channel = raw.open_channel().await?;
            }
        }
        for (destination, binding) in &record.exchange_bindings {
            let request = ExchangeBinding::new(destination.as_str(), binding.clone());
            if let Err(error) = channel.bind_exchange(&request).await {
                self.refused(&error, "binding of exchange", destination)?;
                self.remove_exchange_binding(destination, binding);
                channel = raw.open_channel().await?;
            }
        }
        for queue in record.queues.values() {
            if let Err(error) = declare_with_bindings(&*channel, queue).await {
                self.refused(&error, "queue", queue.name())?;
                self.remove_queue(queue.name());
                channel = raw.open_channel().await?;
            }
        }
        for (queue, binding) in &record.queue_bindings {
            let request = BindQueue::new(queue.as_str(), binding.clone());
            if let Err(error) = channel.bind_queue(&request).await {
                self.refused(&error, "binding of queue", queue)?;
                self.remove_queue_binding(queue, binding);
                channel = raw.open_channel().await?;
            }
        }
        channel.close().await
    }

    #[expect(clippy::unused_self, reason = "reads as one of the record's verbs")]
    fn refused(&self, error: &Error, what: &'static str, name: &str) -> Result<()> {
        if error.scope() == Scope::Connection {
            return Err(error.duplicate());
        }
        tracing::warn!(%error, what, name, "cannot declare again after reconnecting");
        Ok(())
    }
}

/// Declares a queue's own bindings after itself; their exchanges were declared before.
async fn declare_with_bindings(channel: &dyn RawChannel, queue: &Queue) -> Result<()> {
    channel.declare_queue(queue).await?;
    for binding in queue.bindings() {
        if !binding.exchange().name().is_empty() {
            channel.bind_queue(&BindQueue::new(queue.name(), binding.clone())).await?;
        }
    }
    Ok(())
}

fn add(bindings: &mut Vec<(String, Binding)>, name: &str, binding: &Binding) {
    if !bindings.iter().any(|(bound, known)| bound == name && known == binding) {
        bindings.push((name.to_owned(), binding.clone()));
    }
}
