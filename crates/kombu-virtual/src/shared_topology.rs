//! Exchanges and bindings as records in the broker, for stores that have room for some of their
//! own beside Kombu's queues.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kombu_core::codec::json;
use kombu_core::{Exchange, Queue, Result, Table, Value};

use crate::equivalence;
use crate::local_topology::LocalTopology;
use crate::lock::lock;
use crate::topology::{Destination, Route, Topology};

/// Where records of exchanges and bindings are kept.
#[async_trait]
pub trait TopologyRecords: Debug + Send + Sync {
    /// A number that changes whenever a record may have changed, here or elsewhere.
    fn version(&self) -> u64;

    /// The names of all exchanges that have a record or a binding.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn exchanges(&self) -> Result<Vec<String>>;

    /// What is recorded of an exchange: its properties, if they are, and its bindings.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn read(&self, exchange: &str) -> Result<(Option<String>, Vec<String>)>;

    /// Records the properties of an exchange that has none.
    ///
    /// # Errors
    ///
    /// Those of the broker; not that others recorded some first.
    async fn create(&self, exchange: &str, properties: &str) -> Result<()>;

    /// Drops all records of an exchange; missing ones are no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn delete(&self, exchange: &str) -> Result<()>;

    /// Records a binding of an exchange; the same one again is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn add(&self, exchange: &str, binding: &str) -> Result<()>;

    /// Drops a binding; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn remove(&self, exchange: &str, binding: &str) -> Result<()>;
}

/// Exchanges and bindings that all who use a broker share, as [`TopologyRecords`]; the properties
/// of queues are this connection's.
#[derive(Debug)]
pub struct SharedTopology<R> {
    records: R,
    local: LocalTopology,
    known: Mutex<HashMap<String, Known>>,
}

/// An exchange at a version of the records.
#[derive(Clone, Debug)]
struct Known {
    version: u64,
    exchange: Option<Arc<Exchange>>,
    routes: Arc<[Route]>,
}

impl<R: TopologyRecords> SharedTopology<R> {
    /// The topology in these records.
    #[must_use]
    pub fn new(records: R) -> Self {
        Self { records, local: LocalTopology::new(), known: Mutex::default() }
    }

    /// The records.
    #[must_use]
    pub fn records(&self) -> &R {
        &self.records
    }

    async fn known(&self, name: &str) -> Result<Known> {
        let version = self.records.version();
        if let Some(known) = lock(&self.known).get(name)
            && known.version == version
        {
            return Ok(known.clone());
        }
        let (properties, bindings) = self.records.read(name).await?;
        let known = Known {
            version,
            exchange: properties.and_then(|text| read_exchange(name, &text)).map(Arc::new),
            routes: bindings.iter().filter_map(|text| read_route(name, text)).collect(),
        };
        lock(&self.known).insert(name.to_owned(), known.clone());
        Ok(known)
    }

    /// Drops the bindings of an exchange that lead there; with the last one goes an exchange that
    /// is auto-deleted.
    async fn drop_routes(&self, name: &str, gone: impl Fn(&Route) -> bool + Sync) -> Result<bool> {
        let known = self.known(name).await?;
        let dropped: Vec<_> = known.routes.iter().filter(|route| gone(route)).collect();
        for route in &dropped {
            self.records.remove(name, &write_route(route)?).await?;
        }
        let last = !dropped.is_empty() && dropped.len() == known.routes.len();
        Ok(last && known.exchange.is_some_and(|exchange| exchange.is_auto_delete()))
    }

    async fn drop_everywhere(&self, destinations: &[Destination]) -> Result<Vec<String>> {
        let mut unused = Vec::new();
        for name in self.records.exchanges().await? {
            let gone = |route: &Route| destinations.contains(&route.destination);
            if self.drop_routes(&name, gone).await? {
                unused.push(name);
            }
        }
        Ok(unused)
    }

    /// Deletes exchanges, and those that are auto-deleted with them.
    async fn delete_all(&self, mut names: Vec<String>) -> Result<()> {
        while !names.is_empty() {
            for name in &names {
                self.records.delete(name).await?;
            }
            let gone: Vec<_> =
                names.iter().map(|name| Destination::Exchange(name.as_str().into())).collect();
            names = self.drop_everywhere(&gone).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl<R: TopologyRecords + 'static> Topology for SharedTopology<R> {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        // Records that are known may be of a moment ago.
        let (properties, _) = self.records.read(exchange.name()).await?;
        let known = properties.and_then(|text| read_exchange(exchange.name(), &text));
        match known {
            Some(known) => equivalence::exchange(&known, exchange),
            None => self.records.create(exchange.name(), &write_exchange(exchange)?).await,
        }
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        Ok(self.known(name).await?.exchange)
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        self.delete_all(vec![name.to_owned()]).await
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        self.records.add(&route.exchange, &write_route(route)?).await
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        if self.drop_routes(&route.exchange, |have| have == route).await? {
            self.delete_all(vec![route.exchange.clone()]).await?;
        }
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        // Both only grow.
        Some(self.records.version().wrapping_add(self.local.version().unwrap_or_default()))
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        Ok(self.known(exchange).await?.routes)
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        self.local.declare_queue(queue).await
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        self.local.queue(name).await
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        self.local.forget_queue(name).await?;
        let unused = self.drop_everywhere(&[Destination::Queue(name.into())]).await?;
        self.delete_all(unused).await
    }
}

fn write_exchange(exchange: &Exchange) -> Result<String> {
    text(
        Table::new()
            .with("type", exchange.kind().as_str())
            .with("durable", exchange.is_durable())
            .with("auto_delete", exchange.is_auto_delete())
            .with("internal", exchange.is_internal())
            .with("arguments", exchange.arguments().clone()),
    )
}

fn read_exchange(name: &str, text: &str) -> Option<Exchange> {
    let Ok(Value::Table(table)) = json::parse(text.as_bytes()) else { return None };
    let flag = |name| table.get(name).and_then(Value::as_bool);
    let kind = table.get("type").and_then(Value::as_str)?;
    let mut exchange = Exchange::new(name, kind)
        .durable(flag("durable").unwrap_or(true))
        .auto_delete(flag("auto_delete").unwrap_or(false))
        .internal(flag("internal").unwrap_or(false));
    let arguments = table.get("arguments").and_then(Value::as_table);
    for (name, value) in arguments.into_iter().flat_map(Table::iter) {
        exchange = exchange.argument(name, value.clone());
    }
    Some(exchange)
}

fn write_route(route: &Route) -> Result<String> {
    let (kind, name) = match &route.destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    };
    let mut table = Table::new().with(kind, &**name).with("key", route.routing_key.as_str());
    if !route.arguments.is_empty() {
        // In one order, so that the same binding is the same record.
        let mut arguments: Vec<_> = route.arguments.iter().collect();
        arguments.sort_unstable_by_key(|(name, _)| *name);
        let sorted: Table =
            arguments.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        table.insert("arguments", sorted);
    }
    text(table)
}

fn read_route(exchange: &str, text: &str) -> Option<Route> {
    let Ok(Value::Table(table)) = json::parse(text.as_bytes()) else { return None };
    let text = |name| table.get(name).and_then(Value::as_str);
    let destination = match (text("queue"), text("exchange")) {
        (Some(queue), _) => Destination::Queue(queue.into()),
        (None, Some(exchange)) => Destination::Exchange(exchange.into()),
        (None, None) => return None,
    };
    let mut route = Route::new(exchange, text("key")?, destination);
    if let Some(arguments) = table.get("arguments").and_then(Value::as_table) {
        route.arguments = arguments.clone();
    }
    Some(route)
}

fn text(table: Table) -> Result<String> {
    Ok(String::from_utf8_lossy(&json::write(&Value::Table(table))?).into_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Shelf(Arc<(AtomicU64, Mutex<BTreeMap<String, Record>>)>);

    type Record = (Option<String>, BTreeSet<String>);

    impl Shelf {
        fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Record>) -> T) -> Result<T> {
            self.0.0.fetch_add(1, Ordering::AcqRel);
            Ok(change(&mut lock(&self.0.1)))
        }
    }

    #[async_trait]
    impl TopologyRecords for Shelf {
        fn version(&self) -> u64 {
            self.0.0.load(Ordering::Acquire)
        }

        async fn exchanges(&self) -> Result<Vec<String>> {
            Ok(lock(&self.0.1).keys().cloned().collect())
        }

        async fn read(&self, exchange: &str) -> Result<(Option<String>, Vec<String>)> {
            let (properties, bindings) = lock(&self.0.1).get(exchange).cloned().unwrap_or_default();
            Ok((properties, bindings.into_iter().collect()))
        }

        async fn create(&self, exchange: &str, properties: &str) -> Result<()> {
            self.change(|all| {
                let record = all.entry(exchange.to_owned()).or_default();
                record.0.get_or_insert_with(|| properties.to_owned());
            })
        }

        async fn delete(&self, exchange: &str) -> Result<()> {
            self.change(|all| drop(all.remove(exchange)))
        }

        async fn add(&self, exchange: &str, binding: &str) -> Result<()> {
            self.change(|all| {
                all.entry(exchange.to_owned()).or_default().1.insert(binding.to_owned());
            })
        }

        async fn remove(&self, exchange: &str, binding: &str) -> Result<()> {
            self.change(|all| {
                all.entry(exchange.to_owned()).or_default().1.remove(binding);
            })
        }
    }

    #[tokio::test]
    async fn what_one_declares_the_other_knows() {
        let shelf = Shelf::default();
        let (one, other) = (SharedTopology::new(shelf.clone()), SharedTopology::new(shelf));
        assert!(other.exchange("news").await.unwrap().is_none());
        let news = Exchange::headers("news").durable(false).argument("alternate-exchange", "lost");
        one.declare_exchange(&news).await.unwrap();
        let mut route = Route::new("news", "k", Destination::Queue("q".into()));
        route.arguments = Table::new().with("x-match", "any").with("a", 1);
        one.bind(&route).await.unwrap();
        let known = other.exchange("news").await.unwrap().unwrap();
        equivalence::exchange(&known, &news).unwrap();
        assert_eq!(&*other.routes("news").await.unwrap(), [route.clone()]);
        assert!(other.declare_exchange(&Exchange::direct("news")).await.is_err());
        other.unbind(&route).await.unwrap();
        assert!(one.routes("news").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn auto_delete_exchanges_go_with_their_last_binding_along_the_chain() {
        let topology = SharedTopology::new(Shelf::default());
        for name in ["a", "b"] {
            topology.declare_exchange(&Exchange::fanout(name).auto_delete(true)).await.unwrap();
        }
        topology.bind(&Route::new("a", "", Destination::Exchange("b".into()))).await.unwrap();
        topology.bind(&Route::new("b", "", Destination::Queue("q".into()))).await.unwrap();
        topology.forget_queue("q").await.unwrap();
        assert!(topology.exchange("b").await.unwrap().is_none());
        assert!(topology.exchange("a").await.unwrap().is_none());
    }
}
