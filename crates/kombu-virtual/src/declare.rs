//! Declaring, binding and deleting.

use std::sync::Arc;

use kombu_core::transport::{BindQueue, DeleteExchange, DeleteQueue, ExchangeBinding, QueueInfo};
use kombu_core::{Binding, Error, ErrorKind, Exchange, Queue, Result};
use uuid::Uuid;

use crate::connection::Link;
use crate::dead_letter::DeadLetters;
use crate::equivalence;
use crate::routing;
use crate::store::Store;
use crate::topology::{Destination, Route};

pub(crate) async fn exchange<S: Store>(link: &Link<S>, exchange: &Exchange) -> Result<()> {
    let topology = link.store.topology();
    if exchange.name().is_empty() {
        // Every broker has the default exchange.
        return Ok(());
    }
    let known = routing::exchange(topology, exchange.name()).await?;
    if exchange.is_passive() {
        return known.map(drop).ok_or_else(|| no_exchange(exchange.name()));
    }
    link.refuse.exchange(exchange)?;
    match known {
        Some(known) if exchange.name().starts_with("amq.") => {
            equivalence::exchange(&known, exchange)
        }
        _ => topology.declare_exchange(exchange).await,
    }
}

pub(crate) async fn delete_exchange<S: Store>(
    link: &Link<S>,
    delete: &DeleteExchange,
) -> Result<()> {
    let topology = link.store.topology();
    if delete.name.is_empty() || delete.name.starts_with("amq.") {
        return Err(Error::new(
            ErrorKind::AccessRefused,
            format!("exchange {:?} is the broker's own", delete.name),
        ));
    }
    if delete.if_unused && !topology.routes(&delete.name).await?.is_empty() {
        return Err(Error::new(
            ErrorKind::PreconditionFailed,
            format!("exchange {:?} has bindings", delete.name),
        ));
    }
    topology.delete_exchange(&delete.name).await
}

pub(crate) async fn bind_exchange<S: Store>(
    link: &Link<S>,
    binding: &ExchangeBinding,
) -> Result<()> {
    link.refuse.unless(link.refuse.promised.exchange_bindings, "exchange_bindings")?;
    let topology = link.store.topology();
    let route = exchange_route(binding);
    refuse_default(&route.exchange)?;
    refuse_default(&binding.destination)?;
    for name in [&route.exchange, &binding.destination] {
        if routing::exchange(topology, name).await?.is_none() {
            return Err(no_exchange(name));
        }
    }
    topology.bind(&route).await
}

pub(crate) async fn unbind_exchange<S: Store>(
    link: &Link<S>,
    binding: &ExchangeBinding,
) -> Result<()> {
    link.refuse.unless(link.refuse.promised.exchange_bindings, "exchange_bindings")?;
    link.store.topology().unbind(&exchange_route(binding)).await
}

pub(crate) async fn queue<S: Store>(link: &Link<S>, queue: Queue) -> Result<QueueInfo> {
    if queue.is_passive() {
        check_queue(link, queue.name()).await?;
        return info(link, queue.name()).await;
    }
    let queue = match queue.name() {
        "" => queue.named(format!("amq.gen-{}", Uuid::new_v4())),
        _ => queue,
    };
    link.presence.check_access(queue.name(), link.member)?;
    link.refuse.queue(&queue)?;
    make_queue(link, &queue).await?;
    if queue.is_exclusive() {
        link.presence.own(queue.name(), link.member);
    }
    info(link, queue.name()).await
}

/// Records a queue and makes it.
pub(crate) async fn make_queue<S: Store>(link: &Link<S>, queue: &Queue) -> Result<()> {
    let topology = link.store.topology();
    let known = topology.queue(queue.name()).await?.is_some();
    topology.declare_queue(queue).await?;
    let made = link.store.create_queue(queue).await;
    if made.is_err() && !known {
        topology.forget_queue(queue.name()).await?;
    }
    made
}

pub(crate) async fn delete_queue<S: Store>(link: &Link<S>, delete: &DeleteQueue) -> Result<u64> {
    link.presence.check_access(&delete.name, link.member)?;
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::PreconditionFailed, format!("queue {:?} {why}", delete.name)))
    };
    if delete.if_unused && link.presence.consumers(&delete.name) > 0 {
        return refuse("has consumers");
    }
    if delete.if_empty
        && link.store.queue_exists(&delete.name).await?
        && link.store.size(&delete.name).await? > 0
    {
        return refuse("is not empty");
    }
    remove_queue(link, &delete.name).await
}

/// Deletes a queue, its bindings and its consumers.
pub(crate) async fn remove_queue<S: Store>(link: &Link<S>, queue: &str) -> Result<u64> {
    link.store.topology().forget_queue(queue).await?;
    let waiting = link.store.delete_queue(queue).await?;
    link.presence.queue_is_gone(queue);
    Ok(waiting)
}

/// Deletes a queue that has lost its last consumer, if it wants that.
pub(crate) async fn auto_delete<S: Store>(link: &Link<S>, queue: &str) -> Result<()> {
    let known = link.store.topology().queue(queue).await?;
    if known.is_some_and(|known| known.is_auto_delete()) && link.presence.consumers(queue) == 0 {
        remove_queue(link, queue).await?;
    }
    Ok(())
}

pub(crate) async fn bind_queue<S: Store>(link: &Link<S>, bind: &BindQueue) -> Result<()> {
    let topology = link.store.topology();
    let route = queue_route(bind);
    refuse_default(&route.exchange)?;
    check_queue(link, &bind.queue).await?;
    if routing::exchange(topology, &route.exchange).await?.is_none() {
        return Err(no_exchange(&route.exchange));
    }
    topology.bind(&route).await
}

pub(crate) async fn unbind_queue<S: Store>(link: &Link<S>, bind: &BindQueue) -> Result<()> {
    link.presence.check_access(&bind.queue, link.member)?;
    link.store.topology().unbind(&queue_route(bind)).await
}

/// Checks that a queue exists and that this connection may use it.
pub(crate) async fn check_queue<S: Store>(link: &Link<S>, queue: &str) -> Result<()> {
    if queue.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "the queue's name is empty"));
    }
    link.presence.check_access(queue, link.member)?;
    if link.store.topology().queue(queue).await?.is_some() || link.store.queue_exists(queue).await?
    {
        return Ok(());
    }
    Err(Error::new(ErrorKind::NotFound, format!("no queue {queue:?}")))
}

/// Where the dead letters of a queue go.
pub(crate) async fn dead_letters<S: Store>(
    link: &Link<S>,
    queue: &str,
) -> Result<Option<Arc<DeadLetters>>> {
    let known = link.store.topology().queue(queue).await?;
    Ok(known.and_then(|known| DeadLetters::of(&known)).map(Arc::new))
}

async fn info<S: Store>(link: &Link<S>, queue: &str) -> Result<QueueInfo> {
    let messages = link.store.size(queue).await?;
    let consumers = match link.refuse.promised.consumer_count {
        true => u32::try_from(link.presence.consumers(queue)).unwrap_or(u32::MAX),
        false => 0,
    };
    Ok(QueueInfo::new(queue, messages, consumers))
}

fn queue_route(bind: &BindQueue) -> Route {
    route(&bind.binding, Destination::Queue(bind.queue.as_str().into()))
}

fn exchange_route(bind: &ExchangeBinding) -> Route {
    route(&bind.binding, Destination::Exchange(bind.destination.as_str().into()))
}

fn route(binding: &Binding, destination: Destination) -> Route {
    let mut route = Route::new(binding.exchange().name(), binding.routing_key(), destination);
    route.arguments = binding.arguments().clone();
    route
}

fn refuse_default(exchange: &str) -> Result<()> {
    if !exchange.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::AccessRefused,
        "the default exchange has no bindings: it leads to each queue by its name",
    ))
}

fn no_exchange(exchange: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no exchange {exchange:?}"))
}
