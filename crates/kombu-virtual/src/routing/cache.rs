//! Remembers where routing keys lead.

use std::collections::HashMap;
use std::sync::Arc;

use kombu_core::Result;
use kombu_core::transport::Publish;

use super::{Rules, Targets, route};
use crate::topology::Topology;

/// The targets of recent exchanges and keys, as long as the topology's version stays.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    version: u64,
    last: Option<Known>,
    known: HashMap<String, HashMap<String, Arc<Targets>>>,
    count: usize,
}

#[derive(Debug)]
struct Known {
    exchange: String,
    routing_key: String,
    targets: Arc<Targets>,
}

impl RouteCache {
    /// The targets, if they are known.
    pub(crate) fn find(
        &mut self,
        topology: &dyn Topology,
        publish: &Publish,
    ) -> Option<Arc<Targets>> {
        let version = topology.version()?;
        if version != self.version {
            *self = Self { version, ..Self::default() };
            return None;
        }
        if let Some(last) = &self.last
            && last.routing_key == publish.routing_key
            && last.exchange == publish.exchange
        {
            return Some(Arc::clone(&last.targets));
        }
        let targets = self.known.get(&publish.exchange)?.get(&publish.routing_key)?;
        let targets = Arc::clone(targets);
        self.set_last(publish, &targets);
        Some(targets)
    }

    /// Remembers what was found at a version.
    pub(crate) fn learn(&mut self, version: u64, publish: &Publish, targets: &Arc<Targets>) {
        if version != self.version {
            return;
        }
        if self.count == MOST {
            self.known.clear();
            self.count = 0;
        }
        self.count += 1;
        self.known
            .entry(publish.exchange.clone())
            .or_default()
            .insert(publish.routing_key.clone(), Arc::clone(targets));
        self.set_last(publish, targets);
    }

    fn set_last(&mut self, publish: &Publish, targets: &Arc<Targets>) {
        self.last = Some(Known {
            exchange: publish.exchange.clone(),
            routing_key: publish.routing_key.clone(),
            targets: Arc::clone(targets),
        });
    }
}

/// Finds the targets of a message that the cache does not know, and the version at which they may
/// be remembered.
pub(crate) async fn look_up(
    topology: &dyn Topology,
    rules: Rules,
    publish: &Publish,
) -> Result<(Arc<Targets>, Option<u64>)> {
    let version = topology.version();
    let found = route(topology, rules, publish).await?;
    Ok((Arc::new(found.targets), version.filter(|_| found.same_for_key)))
}

/// The most keys that are remembered.
const MOST: usize = 1024;
