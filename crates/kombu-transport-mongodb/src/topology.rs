//! Bindings in the collection that Kombu has for them, exchanges and the properties of queues in
//! this process.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::{Error, ErrorKind, Exchange, ExchangeType, Queue, Result};
use kombu_virtual::{Destination, LocalTopology, Route, Topology, expiry, topic};
use mongodb::bson::{Bson, Document, doc};

use crate::broadcast;
use crate::core::Core;
use crate::queues::{self, Queues};

/// Exchanges, bindings and queues as one connection knows them.
///
/// Bindings are those of the server, read for each message: others make them without telling. The
/// type of an exchange is kept nowhere: of one that was not declared here it follows from its
/// bindings.
#[derive(Debug)]
pub(crate) struct MongodbTopology {
    core: Arc<Core>,
    pub(crate) queues: Queues,
    local: LocalTopology,
}

/// The bindings of an exchange.
struct Table {
    kind: Option<ExchangeType>,
    routes: Arc<[Route]>,
}

impl MongodbTopology {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, queues: Queues::default(), local: LocalTopology::new() }
    }

    async fn table(&self, exchange: &str) -> Result<Table> {
        let routing = self.core.routing.clone();
        let filter = doc! { "exchange": exchange };
        let found = self
            .core
            .call(async move {
                let mut cursor = routing.find(filter).await?;
                let mut found: Vec<Document> = Vec::new();
                while cursor.advance().await? {
                    found.push(cursor.deserialize_current()?);
                }
                Ok(found)
            })
            .await?;
        let mut kind = None;
        let mut routes: Vec<Route> = Vec::new();
        for binding in &found {
            let (Ok(queue), Ok(key)) = (binding.get_str("queue"), binding.get_str("routing_key"))
            else {
                continue;
            };
            let is_topic = binding.get_str("pattern").is_ok_and(|pattern| !pattern.is_empty());
            if is_topic {
                kind = Some(ExchangeType::Topic);
            } else if !key.is_empty() && kind.is_none() {
                kind = Some(ExchangeType::Direct);
            }
            let route = Route::new(exchange, key, Destination::Queue(queue.into()));
            if !routes.contains(&route) {
                routes.push(route);
            }
        }
        Ok(Table { kind, routes: routes.into() })
    }

    async fn kind(&self, exchange: &str) -> Result<Option<ExchangeType>> {
        match self.local.exchange(exchange).await? {
            Some(exchange) => Ok(Some(exchange.kind().clone())),
            None => match exchange.strip_prefix("amq.") {
                Some(kind) => Ok(Some(ExchangeType::from(kind))),
                None => Ok(self.table(exchange).await?.kind),
            },
        }
    }
}

#[async_trait]
impl Topology for MongodbTopology {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        // What the bindings tell of its type: patterns are a topic exchange's.
        let is_topic = *exchange.kind() == ExchangeType::Topic;
        if let Some(kind) = self.table(exchange.name()).await?.kind
            && (kind == ExchangeType::Topic) != is_topic
        {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "exchange {:?} has the bindings of a {kind} exchange, and is declared as {}",
                    exchange.name(),
                    exchange.kind()
                ),
            ));
        }
        self.local.declare_exchange(exchange).await
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        if let Some(exchange) = self.local.exchange(name).await? {
            return Ok(Some(exchange));
        }
        let kind = self.table(name).await?.kind;
        Ok(kind.map(|kind| Arc::new(Exchange::new(name, kind.as_str()))))
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        self.local.delete_exchange(name).await?;
        let (routing, filter) = (self.core.routing.clone(), doc! { "exchange": name });
        self.core.call(async move { routing.delete_many(filter).await }).await?;
        self.core.hub.fanouts.remove_exchange(name);
        self.core.hub.beat();
        Ok(())
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("mongodb", "exchange_bindings"));
        };
        let kind = self.kind(&route.exchange).await?;
        if kind == Some(ExchangeType::Fanout) {
            broadcast::bind(&self.core, &route.exchange, queue).await?;
        }
        let pattern = match kind {
            Some(ExchangeType::Topic) => Bson::String(topic::pattern(&route.routing_key)),
            _ => Bson::Null,
        };
        let binding = doc! {
            "exchange": &route.exchange,
            "queue": &**queue,
            "routing_key": &route.routing_key,
            "pattern": pattern,
        };
        let mut document = binding.clone();
        let declared = self.local.queue(queue).await?;
        let expires = declared.and_then(|queue| expiry::of_queue(&queue));
        if expires.is_some() || self.core.options.ttl {
            let end = expires.map(|after| self.core.clock.after(after));
            document.insert("expire_at", end);
        }
        let routing = self.core.routing.clone();
        let update = doc! { "$set": document };
        self.core
            .call(async move { routing.update_one(binding, update).upsert(true).await })
            .await
            .map(drop)
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("mongodb", "exchange_bindings"));
        };
        // Whatever pattern a version of Kombu wrote beside the key.
        let binding = doc! {
            "exchange": &route.exchange,
            "queue": &**queue,
            "routing_key": &route.routing_key,
        };
        let routing = self.core.routing.clone();
        self.core.call(async move { routing.delete_many(binding).await }).await?;
        let left = self.table(&route.exchange).await?;
        let still = |other: &Route| other.destination == route.destination;
        if !left.routes.iter().any(still) {
            self.core.hub.fanouts.detach(&route.exchange, queue);
            self.core.hub.beat();
        }
        Ok(())
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        Ok(self.table(exchange).await?.routes)
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        self.local.declare_queue(queue).await
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        let known = self.local.queue(name).await?;
        let may_be_over = known.as_ref().is_some_and(|queue| expiry::of_queue(queue).is_some());
        if may_be_over && !self.queues.exists(&self.core, name).await? {
            self.local.forget_queue(name).await?;
            self.queues.forget(name);
            return Ok(None);
        }
        Ok(known)
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        self.local.forget_queue(name).await?;
        self.queues.forget(name);
        queues::delete_bindings(&self.core, name).await?;
        self.core.hub.fanouts.remove_queue(name);
        self.core.lock_fan_queues().remove(name);
        self.core.hub.beat();
        Ok(())
    }
}
