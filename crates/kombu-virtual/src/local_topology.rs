//! Exchanges and bindings in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use kombu_core::{Exchange, Queue, Result};

use crate::equivalence;
use crate::lock::lock;
use crate::topology::{Destination, Route, Topology};

/// Exchanges, bindings and the properties of queues in memory: of one connection, or of all that
/// share the value.
#[derive(Debug, Default)]
pub struct LocalTopology {
    state: Mutex<State>,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    exchanges: HashMap<String, Arc<Exchange>>,
    queues: HashMap<String, Arc<Queue>>,
    bindings: HashMap<String, Bindings>,
}

/// The bindings of one exchange, and their shared form while they do not change.
#[derive(Debug, Default)]
struct Bindings {
    routes: Vec<Route>,
    shared: Option<Arc<[Route]>>,
}

impl LocalTopology {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Locks for a change.
    fn change(&self) -> MutexGuard<'_, State> {
        let state = lock(&self.state);
        self.changed();
        state
    }

    /// Makes a new version. The lock is held, so whoever reads the version reads what belongs to
    /// it or what is newer.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

#[async_trait]
impl Topology for LocalTopology {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(known) = state.exchanges.get(exchange.name()) {
            return equivalence::exchange(known, exchange);
        }
        self.changed();
        state.exchanges.insert(exchange.name().to_owned(), Arc::new(exchange.clone()));
        Ok(())
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        Ok(lock(&self.state).exchanges.get(name).cloned())
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        self.change().delete_exchange(name);
        Ok(())
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        let mut state = self.change();
        let bindings = state.bindings.entry(route.exchange.clone()).or_default();
        if !bindings.routes.contains(route) {
            bindings.routes.push(route.clone());
            bindings.shared = None;
        }
        Ok(())
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        self.change().drop_routes(&route.exchange, |have| have == route);
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::Acquire))
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        let mut state = lock(&self.state);
        let Some(bindings) = state.bindings.get_mut(exchange) else { return Ok(Arc::new([])) };
        let shared = bindings.shared.get_or_insert_with(|| bindings.routes.as_slice().into());
        Ok(Arc::clone(shared))
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(known) = state.queues.get(queue.name()) {
            return equivalence::queue(known, queue);
        }
        self.changed();
        state.queues.insert(queue.name().to_owned(), Arc::new(queue.clone()));
        Ok(())
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        Ok(lock(&self.state).queues.get(name).cloned())
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        let mut state = self.change();
        state.queues.remove(name);
        let exchanges: Vec<_> = state.bindings.keys().cloned().collect();
        let gone =
            |have: &Route| matches!(&have.destination, Destination::Queue(q) if **q == *name);
        for exchange in exchanges {
            state.drop_routes(&exchange, gone);
        }
        Ok(())
    }
}

impl State {
    fn delete_exchange(&mut self, name: &str) {
        self.exchanges.remove(name);
        self.bindings.remove(name);
        let sources: Vec<_> = self.bindings.keys().cloned().collect();
        for source in sources {
            self.drop_routes(
                &source,
                |have| matches!(&have.destination, Destination::Exchange(e) if **e == *name),
            );
        }
    }

    /// Drops bindings of an exchange; with the last one goes an exchange that is auto-deleted.
    fn drop_routes(&mut self, exchange: &str, gone: impl Fn(&Route) -> bool) {
        let Some(bindings) = self.bindings.get_mut(exchange) else { return };
        let before = bindings.routes.len();
        bindings.routes.retain(|have| !gone(have));
        if bindings.routes.len() == before {
            return;
        }
        bindings.shared = None;
        if bindings.routes.is_empty() {
            self.bindings.remove(exchange);
            if self.exchanges.get(exchange).is_some_and(|exchange| exchange.is_auto_delete()) {
                self.delete_exchange(exchange);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(exchange: &str, key: &str, queue: &str) -> Route {
        Route::new(exchange, key, Destination::Queue(queue.into()))
    }

    #[tokio::test]
    async fn bindings_are_kept_once_and_forgotten_with_their_queue() {
        let topology = LocalTopology::new();
        topology.bind(&route("e", "k", "q")).await.unwrap();
        topology.bind(&route("e", "k", "q")).await.unwrap();
        topology.bind(&route("e", "k", "r")).await.unwrap();
        assert_eq!(topology.routes("e").await.unwrap().len(), 2);
        topology.forget_queue("q").await.unwrap();
        assert_eq!(&*topology.routes("e").await.unwrap(), &[route("e", "k", "r")]);
    }

    #[tokio::test]
    async fn auto_delete_exchanges_go_with_their_last_binding_along_the_chain() {
        let topology = LocalTopology::new();
        let auto = |name: &str| Exchange::fanout(name).auto_delete(true);
        topology.declare_exchange(&auto("a")).await.unwrap();
        topology.declare_exchange(&auto("b")).await.unwrap();
        let chain = Route::new("a", "", Destination::Exchange("b".into()));
        topology.bind(&chain).await.unwrap();
        topology.bind(&route("b", "", "q")).await.unwrap();
        topology.forget_queue("q").await.unwrap();
        assert!(topology.exchange("b").await.unwrap().is_none());
        assert!(topology.exchange("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_version_changes_with_every_change() {
        let topology = LocalTopology::new();
        let before = topology.version();
        topology.bind(&route("e", "k", "q")).await.unwrap();
        assert_ne!(topology.version(), before);
    }
}
