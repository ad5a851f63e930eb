//! A message to be sent, in Python's terms.

use kombu::{Exchange, Queue};
use serde_json::{Map, Value as Json};

/// A message to be sent. Values are in the notation of [`notation`](crate::notation), options have
/// the names of the arguments of Kombu's `Producer.publish`.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) body: Json,
    pub(crate) exchange: Option<Exchange>,
    pub(crate) routing_key: String,
    pub(crate) headers: Map<String, Json>,
    pub(crate) options: Map<String, Json>,
}

impl Post {
    /// A message with a body; it goes nowhere yet.
    pub(crate) fn new(body: impl Into<Json>) -> Self {
        Self {
            body: body.into(),
            exchange: None,
            routing_key: String::new(),
            headers: Map::new(),
            options: Map::new(),
        }
    }

    /// Sends it to an exchange.
    pub(crate) fn to(mut self, exchange: &Exchange, routing_key: impl Into<String>) -> Self {
        self.exchange = Some(exchange.clone());
        self.routing_key = routing_key.into();
        self
    }

    /// Sends it to a queue, through the default exchange.
    pub(crate) fn queue(mut self, queue: &Queue) -> Self {
        queue.name().clone_into(&mut self.routing_key);
        self
    }

    /// Sets a header.
    pub(crate) fn header(mut self, name: impl Into<String>, value: impl Into<Json>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Sets an option.
    pub(crate) fn option(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    /// The body as it is, of a content type and encoding.
    pub(crate) fn bare(self, content_type: &str, content_encoding: &str) -> Self {
        self.option("content_type", content_type).option("content_encoding", content_encoding)
    }
}
