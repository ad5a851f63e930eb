//! Connecting, and making sure that what a command names is there.

use std::time::Duration;

use kombu::{Binding, Channel, Connection, ErrorKind, Exchange, ExchangeType, Queue, RetryPolicy};

use crate::end::Stop;
use crate::pair::Pair;
use crate::session::Session;

/// Connects to the first of the URLs that answers; each is tried once.
pub(crate) async fn connect(
    session: &mut Session,
    url: &str,
    options: &[Pair],
    timeout: Duration,
) -> Result<Connection, Stop> {
    let builder = Connection::builder(url)
        .registry(session.registry.clone())
        .connect_timeout(timeout)
        .client_name(concat!("kombu ", env!("CARGO_PKG_VERSION")))
        .retry(RetryPolicy::once())
        // A broker may restart meanwhile, which takes some half a minute.
        .recovery(RetryPolicy::recover().interval_max(Duration::from_secs(2)))
        .publish_timeout(PUBLISH_TIMEOUT)
        .options(options.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect());
    session.interrupt.unless(builder.connect()).await
}

/// Makes sure that there is a queue: one that exists stays as it is, whatever its arguments;
/// one that does not is declared as Kombu does. Returns what a consumer is to be given.
pub(crate) async fn ensure_queue(channel: &Channel, name: &str) -> kombu::Result<Queue> {
    let queue = Queue::new(name);
    match channel.size(name).await {
        Ok(_) => Ok(queue.no_declare()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            channel.declare_queue(&queue).await?;
            Ok(queue)
        }
        Err(error) => Err(error),
    }
}

/// Makes sure that there is an exchange. With a type it must be of that type; without, one that
/// exists stays as it is.
pub(crate) async fn ensure_exchange(
    channel: &Channel,
    name: &str,
    kind: Option<&ExchangeType>,
) -> kombu::Result<Exchange> {
    if let Some(kind) = kind {
        let exchange = Exchange::new(name, kind.clone());
        channel.declare_exchange(&exchange).await?;
        return Ok(exchange);
    }
    let exchange = Exchange::direct(name);
    match channel.declare_exchange(&exchange.clone().passive(true)).await {
        Ok(()) => Ok(exchange.no_declare()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            channel.declare_exchange(&exchange).await?;
            Ok(exchange)
        }
        Err(error) => Err(error),
    }
}

/// Makes sure that there is a queue, bound to the exchange.
pub(crate) async fn ensure_bound(
    channel: &Channel,
    queue: &str,
    exchange: &Exchange,
    routing_key: &str,
) -> kombu::Result<Queue> {
    let ensured = ensure_queue(channel, queue).await?;
    channel.bind_queue(queue, &Binding::new(exchange, routing_key)).await?;
    Ok(ensured)
}

/// How long one publish may take, waiting for a lost broker to come back included.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(60);
