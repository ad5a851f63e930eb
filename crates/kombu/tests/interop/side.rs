//! What a case asks of either language.

use std::time::Duration;

use async_trait::async_trait;
use kombu::{Exchange, Outcome, Queue};
use serde_json::Value as Json;

use crate::failure::Result;
use crate::post::Post;
use crate::seen::Seen;

/// A language.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Language {
    Python,
    Rust,
}

/// One side of an exchange: a program in one language, connected to the broker.
#[async_trait]
pub(crate) trait Side: Send {
    /// Declares an exchange.
    async fn declare_exchange(&mut self, exchange: &Exchange) -> Result<()>;

    /// Declares a queue with its bindings and their exchanges.
    async fn declare(&mut self, queue: &Queue) -> Result<()>;

    /// Declares a queue that has options beside its arguments. They are given to Python's `Queue`
    /// by these names, and are what the arguments of ours mean.
    async fn declare_with(&mut self, queue: &Queue, options: &Json) -> Result<()>;

    /// Publishes messages in order, and returns when the broker has them.
    async fn publish(&mut self, posts: &[Post]) -> Result<()>;

    /// Decodes also bodies of these serializers or content types from now on.
    fn accept(&mut self, names: &[&'static str]);

    /// Receives as many messages, and holds them until [`settle`](Self::settle).
    async fn hold(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>>;

    /// Settles all that is held.
    async fn settle(&mut self, outcome: Outcome) -> Result<()>;

    /// Receives as many messages in a program that is then killed.
    async fn hold_and_die(&mut self, queue: &str, count: usize) -> Result<()>;

    /// Takes a message if one waits.
    async fn get(&mut self, queue: &str) -> Result<Option<Seen>>;

    /// The number of messages that wait.
    async fn size(&mut self, queue: &str) -> Result<u64>;

    /// Answers requests with `{"echo": body}`, and returns them.
    async fn serve(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>>;

    /// Sends a request to a queue and returns its answer.
    async fn call(&mut self, queue: &str, body: &Json) -> Result<Seen>;

    /// Receives and acknowledges as many messages.
    async fn receive(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>> {
        let seen = self.hold(queue, count).await?;
        self.settle(Outcome::Ack).await?;
        Ok(seen)
    }
}

/// How long a side waits for messages.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
