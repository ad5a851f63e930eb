//! How a consumer is configured and started.

use std::fmt;
use std::time::Duration;

use super::BodyContext;
use super::pump;
use super::stream::Consumer;
use crate::channel::Channel;
use crate::codec::Accept;
use crate::entity::Queue;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Table, Value};

/// A consumer under construction. [`start`](Self::start) declares its queues and subscribes.
///
/// # Kombu
///
/// `kombu.Consumer`. The prefetch is 100 unless set, Kombu's is unlimited.
#[must_use = "a consumer receives nothing until it is started"]
pub struct ConsumerBuilder {
    pub(super) channel: Channel,
    pub(super) queues: Vec<Queue>,
    pub(super) prefetch: u16,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) arguments: Table,
    pub(super) tag_prefix: Option<String>,
    pub(super) grace: Duration,
    accept: Option<Accept>,
}

impl ConsumerBuilder {
    pub(crate) fn new(channel: Channel, queues: Vec<Queue>) -> Self {
        Self {
            channel,
            queues,
            prefetch: 100,
            no_ack: false,
            exclusive: false,
            arguments: Table::new(),
            tag_prefix: None,
            grace: Duration::from_secs(30),
            accept: None,
        }
    }

    /// The most unsettled messages per queue; 0 is no limit, bounded only by memory. Default: 100.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.prefetch = messages;
        self
    }

    /// What bodies may be, by serializer name or content type. Default: JSON, text and raw bytes.
    pub fn accept(mut self, accept: impl Into<Accept>) -> Self {
        self.accept = Some(accept.into());
        self
    }

    /// Whether delivery settles: fast, and what is in flight at a failure is lost.
    /// Default: what each queue says.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }

    /// Whether to be the only consumer of its queues. Default: false.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// The consumer's priority (`x-priority`): a higher one is served first. Default: 0.
    pub fn priority(self, priority: i32) -> Self {
        self.argument("x-priority", priority)
    }

    /// Adds a consumer argument for all queues.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name, value);
        self
    }

    /// What consumer tags begin with. Default: `kombu-`.
    pub fn tag_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.tag_prefix = Some(prefix.into());
        self
    }

    /// How long [`Consumer::run`] waits at its end for handlers that still work. Default: 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Declares the queues, subscribes, and returns when messages can arrive.
    ///
    /// # Errors
    ///
    /// Those of declaring, `NotFound` for a missing passive queue, `ResourceLocked`, and
    /// `InvalidArgument` for no queue or an unknown name in the accept list.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was started is ended.
    pub async fn start(self) -> Result<Consumer> {
        if self.queues.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "a consumer needs a queue")
                .during("consume"));
        }
        let settings = &self.channel.shared().settings;
        let context = BodyContext::accepting(settings, self.accept.as_ref())
            .map_err(|error| error.during("consume"))?;
        let grace = self.grace;
        let started = pump::start(self).await?;
        Ok(Consumer::new(started, context, grace))
    }
}

impl fmt::Debug for ConsumerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerBuilder")
            .field("queues", &self.queues)
            .field("prefetch", &self.prefetch)
            .field("no_ack", &self.no_ack)
            .finish_non_exhaustive()
    }
}
