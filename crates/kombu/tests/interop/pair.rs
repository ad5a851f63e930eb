//! The two sides of a case.

use std::sync::Arc;

use kombu::{Exchange, ExchangeType, Outcome, Queue};
use serde_json::Value as Json;
use tokio::time::{Duration, Instant, sleep};

use crate::case::Direction;
use crate::failure::{Failure, Result};
use crate::post::Post;
use crate::python::Python;
use crate::rust::Rust;
use crate::seen::Seen;
use crate::side::{Language, PATIENCE, Side};
use crate::stage::Stage;

/// A sender and a receiver.
pub(crate) struct Pair {
    pub(crate) stage: Arc<Stage>,
    pub(crate) sender: Box<dyn Side>,
    pub(crate) receiver: Box<dyn Side>,
    direction: Direction,
}

impl Pair {
    /// Starts both sides.
    pub(crate) async fn new(stage: &Arc<Stage>, direction: Direction) -> Result<Self> {
        let python = Python::start(stage.ground())?;
        let rust: Box<dyn Side> = Box::new(Rust::start(stage).await?);
        let python: Box<dyn Side> = Box::new(python);
        let (sender, receiver) = match direction {
            Direction::PythonToRust => (python, rust),
            Direction::RustToPython => (rust, python),
        };
        Ok(Self { stage: Arc::clone(stage), sender, receiver, direction })
    }

    /// The language that sends.
    pub(crate) fn sends(&self) -> Language {
        self.direction.sender()
    }

    /// Declares a queue on both sides, the receiver first. Where bindings are not shared, the
    /// sender has to know them.
    pub(crate) async fn declare(&mut self, queue: &Queue) -> Result<()> {
        self.receiver.declare(queue).await?;
        self.sender.declare(queue).await
    }

    /// An exchange with a queue for each binding key, declared on both sides.
    pub(crate) async fn bound(
        &mut self,
        kind: ExchangeType,
        keys: &[&str],
    ) -> Result<(Exchange, Vec<Queue>)> {
        let exchange = self.stage.exchange("exchange", kind);
        let mut queues = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let queue = self.stage.queue(&format!("queue{index}")).bind(&exchange, *key);
            self.declare(&queue).await?;
            queues.push(queue);
        }
        Ok((exchange, queues))
    }

    /// A queue, declared on both sides.
    pub(crate) async fn queue(&mut self) -> Result<Queue> {
        let queue = self.stage.queue("queue");
        self.declare(&queue).await?;
        Ok(queue)
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, post: Post) -> Result<()> {
        self.sender.publish(&[post]).await
    }

    /// Sends one message through a queue of its own and returns it as it is received. `change`
    /// says more about it.
    pub(crate) async fn round_trip(
        &mut self,
        body: impl Into<Json>,
        change: impl FnOnce(Post) -> Post,
    ) -> Result<Seen> {
        let queue = self.queue().await?;
        self.send(change(Post::new(body).queue(&queue))).await?;
        self.receive_one(&queue).await
    }

    /// Receives and acknowledges one message.
    pub(crate) async fn receive_one(&mut self, queue: &Queue) -> Result<Seen> {
        let mut seen = self.receiver.receive(queue.name(), 1).await?;
        seen.pop().ok_or_else(|| Failure::own("no message"))
    }

    /// Receives one message and puts it back or gives it up.
    pub(crate) async fn receive_and(&mut self, queue: &Queue, outcome: Outcome) -> Result<Seen> {
        let mut seen = self.receiver.hold(queue.name(), 1).await?;
        self.receiver.settle(outcome).await?;
        seen.pop().ok_or_else(|| Failure::own("no message"))
    }

    /// Receives messages and checks that they are these, in any order, and no others.
    #[track_caller]
    pub(crate) fn expect_exactly<'a>(
        &'a mut self,
        queue: &'a Queue,
        bodies: &'a [&'a str],
    ) -> impl Future<Output = Result<()>> + 'a {
        let place = std::panic::Location::caller();
        async move {
            let seen = self.receiver.receive(queue.name(), bodies.len()).await?;
            let mut received = seen.iter().map(Seen::text).collect::<Result<Vec<_>>>()?;
            received.sort_unstable();
            let mut bodies = bodies.to_vec();
            bodies.sort_unstable();
            assert_eq!(received, bodies, "in {} at {place}", queue.name());
            let more = self.receiver.get(queue.name()).await?;
            assert!(more.is_none(), "one more in {} at {place}: {more:?}", queue.name());
            Ok(())
        }
    }

    /// Waits until so many messages wait in a queue.
    pub(crate) async fn size_becomes(&mut self, queue: &Queue, wanted: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let size = self.receiver.size(queue.name()).await?;
            if size == wanted {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::own(format!("{size} messages wait instead of {wanted}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
