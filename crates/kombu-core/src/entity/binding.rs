//! Bindings.

use super::Exchange;
use crate::value::{Table, Value};

/// What connects an exchange with a queue, or with another exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    exchange: Exchange,
    routing_key: String,
    arguments: Table,
}

impl Binding {
    /// A binding to `exchange` with the binding key `routing_key`.
    #[must_use]
    pub fn new(exchange: impl Into<Exchange>, routing_key: impl Into<String>) -> Self {
        Self { exchange: exchange.into(), routing_key: routing_key.into(), arguments: Table::new() }
    }

    /// Adds an argument; a headers exchange matches them, with `x-match` `all` or `any`.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value);
        self
    }

    /// The exchange that messages come from.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// The binding key.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// The arguments.
    #[must_use]
    pub fn arguments(&self) -> &Table {
        &self.arguments
    }
}
