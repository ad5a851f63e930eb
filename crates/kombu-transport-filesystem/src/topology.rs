//! Exchanges and bindings: in the files of Kombu, with what those do not say kept here.

use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::{Error, ErrorKind, Exchange, ExchangeType, Queue, Result};
use kombu_virtual::{Destination, LocalTopology, Route, Topology, topic};

use crate::control::{Control, Table};
use crate::names;
use crate::store::apart;

/// The control folder, and what this connection declared.
#[derive(Debug)]
pub(crate) struct FilesystemTopology {
    control: Arc<Control>,
    /// The properties of exchanges and queues, which the files have no room for.
    local: LocalTopology,
}

impl FilesystemTopology {
    pub(crate) fn new(control: Arc<Control>) -> Self {
        Self { control, local: LocalTopology::new() }
    }

    async fn table(&self, exchange: &str) -> Result<Arc<Table>> {
        if let Some(table) = self.control.remembered(exchange) {
            return Ok(table);
        }
        let (control, exchange) = (Arc::clone(&self.control), exchange.to_owned());
        apart(move || control.table(&exchange)).await
    }

    /// Does something to the files.
    async fn change(
        &self,
        change: impl FnOnce(&Control) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let control = Arc::clone(&self.control);
        apart(move || change(&control)).await
    }
}

#[async_trait]
impl Topology for FilesystemTopology {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        names::check_exchange(exchange.name())?;
        let known = self.table(exchange.name()).await?.kind.clone();
        match &known {
            Some(kind) if kind != exchange.kind() => {
                return Err(Error::new(
                    ErrorKind::PreconditionFailed,
                    format!(
                        "exchange {:?} is of type {kind}, and is declared as {}",
                        exchange.name(),
                        exchange.kind()
                    ),
                ));
            }
            Some(_) => {}
            // What was known here is of one that was deleted.
            None => self.local.delete_exchange(exchange.name()).await?,
        }
        self.local.declare_exchange(exchange).await?;
        let (name, kind) = (exchange.name().to_owned(), exchange.kind().clone());
        self.change(move |control| control.declare_exchange(&name, &kind)).await
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        let table = self.table(name).await?;
        let Some(kind) = &table.kind else { return Ok(None) };
        let known = self.local.exchange(name).await?.filter(|known| known.kind() == kind);
        Ok(Some(known.unwrap_or_else(|| Arc::new(Exchange::new(name, kind.as_str())))))
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        self.local.delete_exchange(name).await?;
        let name = name.to_owned();
        self.change(move |control| control.delete_exchange(&name)).await
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("filesystem", "exchange_bindings"));
        };
        let pattern = match self.table(&route.exchange).await?.kind {
            Some(ExchangeType::Topic) => topic::pattern(&route.routing_key),
            _ => String::new(),
        };
        let binding = (route.routing_key.clone(), pattern, (**queue).to_owned());
        let exchange = route.exchange.clone();
        self.change(move |control| control.bind(&exchange, &binding)).await
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("filesystem", "exchange_bindings"));
        };
        let (queue, route) = (Arc::clone(queue), route.clone());
        self.change(move |control| {
            // Whatever pattern a version of Kombu wrote beside the key.
            control.unbind(&route.exchange, |(key, _, bound)| {
                *key == route.routing_key && **bound == *queue
            })
        })
        .await
    }

    fn version(&self) -> Option<u64> {
        self.control.version()
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        Ok(Arc::clone(&self.table(exchange).await?.routes))
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        names::check_queue(queue.name())?;
        self.local.declare_queue(queue).await
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        self.local.queue(name).await
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        self.local.forget_queue(name).await?;
        let name = name.to_owned();
        self.change(move |control| control.unbind_queue(&name)).await
    }
}
