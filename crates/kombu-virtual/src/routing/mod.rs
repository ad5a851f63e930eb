//! Which queues a message goes to.

mod cache;
mod headers;
pub mod topic;

use std::collections::HashSet;
use std::sync::Arc;

use kombu_core::transport::Publish;
use kombu_core::{Error, ErrorKind, Exchange, ExchangeType, Result, Table, Value};

pub(crate) use cache::{RouteCache, look_up};

use crate::topology::{Destination, Route, Topology};

/// Where a message goes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Targets {
    /// The queues, each once.
    pub queues: Vec<Arc<str>>,
    /// The exchanges whose messages the broker hands to the queues itself, each once; of the types
    /// in [`StoreFeatures::native_exchanges`](crate::StoreFeatures::native_exchanges) only.
    pub exchanges: Vec<Arc<str>>,
}

impl Targets {
    /// One queue.
    #[must_use]
    pub fn queue(queue: impl Into<Arc<str>>) -> Self {
        Self { queues: vec![queue.into()], exchanges: Vec::new() }
    }

    /// Whether the message goes nowhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.exchanges.is_empty()
    }
}

/// What routing needs to know of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) implicit_queues: bool,
    pub(crate) native_exchanges: &'static [ExchangeType],
}

/// The targets of a message, and whether others with the same exchange and routing key have the
/// same.
pub(crate) struct Found {
    pub(crate) targets: Targets,
    pub(crate) same_for_key: bool,
}

/// Finds the targets of a message.
///
/// Exchanges bound to each other in a circle are passed once. An exchange that leads nowhere hands
/// the message to its `alternate-exchange`, if it has one.
pub(crate) async fn route(
    topology: &dyn Topology,
    rules: Rules,
    publish: &Publish,
) -> Result<Found> {
    let headers = &publish.message.properties.headers;
    let key = publish.routing_key.as_str();
    if publish.exchange.is_empty() {
        let known = rules.implicit_queues || topology.queue(key).await?.is_some();
        let targets = if known { Targets::queue(key) } else { Targets::default() };
        return Ok(Found { targets, same_for_key: true });
    }
    let first = exchange(topology, &publish.exchange).await?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("no exchange {:?}", publish.exchange))
    })?;
    if first.is_internal() {
        return Err(Error::new(
            ErrorKind::AccessRefused,
            format!("exchange {:?} is internal: only exchanges publish to it", publish.exchange),
        ));
    }
    let mut search = Search::new(rules, key, headers);
    search.enter(first);
    while let Some(exchange) = search.open.pop() {
        let next = search.step(topology, &exchange).await?;
        for name in next {
            if !search.seen.contains(&*name)
                && let Some(exchange) = self::exchange(topology, &name).await?
            {
                search.enter(exchange);
            }
        }
    }
    Ok(Found { targets: search.targets, same_for_key: search.same_for_key })
}

/// The exchange of that name: a declared one, or one that every broker has.
pub(crate) async fn exchange(topology: &dyn Topology, name: &str) -> Result<Option<Arc<Exchange>>> {
    match topology.exchange(name).await? {
        Some(exchange) => Ok(Some(exchange)),
        None => Ok(predeclared(name).map(Arc::new)),
    }
}

struct Search<'a> {
    rules: Rules,
    key: &'a str,
    headers: &'a Table,
    targets: Targets,
    seen: HashSet<String>,
    open: Vec<Arc<Exchange>>,
    same_for_key: bool,
}

impl<'a> Search<'a> {
    fn new(rules: Rules, key: &'a str, headers: &'a Table) -> Self {
        Self {
            rules,
            key,
            headers,
            targets: Targets::default(),
            seen: HashSet::new(),
            open: Vec::new(),
            same_for_key: true,
        }
    }

    fn enter(&mut self, exchange: Arc<Exchange>) {
        if self.seen.insert(exchange.name().to_owned()) {
            self.open.push(exchange);
        }
    }

    /// Collects the queues of one exchange, and says which exchanges come next.
    async fn step(
        &mut self,
        topology: &dyn Topology,
        exchange: &Exchange,
    ) -> Result<Vec<Arc<str>>> {
        if self.rules.native_exchanges.contains(exchange.kind()) {
            self.targets.exchanges.push(exchange.name().into());
            return Ok(Vec::new());
        }
        self.same_for_key &= *exchange.kind() != ExchangeType::Headers;
        let routes = topology.routes(exchange.name()).await?;
        let mut next: Vec<Arc<str>> = Vec::new();
        let mut matched = false;
        for route in routes.iter() {
            if !matches(exchange.kind(), route, self.key, self.headers) {
                continue;
            }
            matched = true;
            match &route.destination {
                Destination::Queue(queue) => {
                    if !self.targets.queues.contains(queue) {
                        self.targets.queues.push(Arc::clone(queue));
                    }
                }
                Destination::Exchange(name) => next.push(Arc::clone(name)),
            }
        }
        if !matched
            && let Some(alternate) = exchange.arguments().get("alternate-exchange")
            && let Value::Text(name) = alternate
        {
            next.push(name.as_str().into());
        }
        Ok(next)
    }
}

fn matches(kind: &ExchangeType, route: &Route, key: &str, headers: &Table) -> bool {
    match kind {
        ExchangeType::Fanout => true,
        ExchangeType::Topic => topic::matches(&route.routing_key, key),
        ExchangeType::Headers => headers::matches(&route.arguments, headers),
        // A type that a plug-in would add was refused at its declaration.
        _ => route.routing_key == key,
    }
}

/// The exchanges that AMQP brokers have from the start.
fn predeclared(name: &str) -> Option<Exchange> {
    let kind = match name {
        "amq.direct" => ExchangeType::Direct,
        "amq.fanout" => ExchangeType::Fanout,
        "amq.headers" | "amq.match" => ExchangeType::Headers,
        "amq.topic" => ExchangeType::Topic,
        _ => return None,
    };
    Some(Exchange::new(name, kind.as_str()))
}
