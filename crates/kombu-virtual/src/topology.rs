//! Exchanges and bindings: where they are kept, and what they are.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::{Exchange, Queue, Result, Table};

/// Keeps exchanges, bindings and the properties of queues: in the broker where the wire has room
/// for them, else in this process.
#[async_trait]
pub trait Topology: Debug + Send + Sync {
    /// Records an exchange.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` when it exists with other properties.
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()>;

    /// The exchange of that name.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>>;

    /// Forgets an exchange and its bindings; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn delete_exchange(&self, name: &str) -> Result<()>;

    /// Records a binding; the same one again is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn bind(&self, route: &Route) -> Result<()>;

    /// Forgets a binding; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn unbind(&self, route: &Route) -> Result<()>;

    /// A number that changes whenever an exchange, a binding or a queue does, if this is the only
    /// place where they change. With it the layer remembers where a routing key leads; without it
    /// each publish asks for the exchange and its [`routes`](Self::routes) again.
    fn version(&self) -> Option<u64> {
        None
    }

    /// The bindings of an exchange. Called for every publish: keep them at hand.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>>;

    /// Records the properties of a queue.
    ///
    /// # Errors
    ///
    /// `PreconditionFailed` when it is known with other properties.
    async fn declare_queue(&self, queue: &Queue) -> Result<()>;

    /// The properties of a queue, if they are known.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>>;

    /// Forgets a queue and all bindings to it; a missing one is no error.
    ///
    /// # Errors
    ///
    /// Those of the broker.
    async fn forget_queue(&self, name: &str) -> Result<()>;
}

/// A binding from the side of the exchange.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Route {
    /// The exchange that gives.
    pub exchange: String,
    /// The binding key.
    pub routing_key: String,
    /// Who receives.
    pub destination: Destination,
    /// The arguments, which a headers exchange matches.
    pub arguments: Table,
}

impl Route {
    /// A binding without arguments.
    #[must_use]
    pub fn new(
        exchange: impl Into<String>,
        routing_key: impl Into<String>,
        destination: Destination,
    ) -> Self {
        Self {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            destination,
            arguments: Table::new(),
        }
    }
}

/// Who receives through a binding.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "AMQP has these two")]
pub enum Destination {
    /// A queue.
    Queue(Arc<str>),
    /// Another exchange.
    Exchange(Arc<str>),
}
