//! The two AMQP client crates, behind what the transport needs of them.
//!
//! [`lapin`] does everything but publishing: it reads every legal message and survives dropped
//! calls. Publishing is a trait with two implementations, on a connection of its own.

#[cfg(feature = "amqprs")]
pub(crate) mod amqprs;
pub(crate) mod dial;
pub(crate) mod greeting;
pub(crate) mod lapin;
pub(crate) mod publish;
mod runtime;
mod stream;
pub(crate) mod tables;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use kombu_core::Result;

use crate::fate::Fate;
use crate::ledger::{Entry, Ledger};

/// A connection that publishes.
#[async_trait]
pub(crate) trait PublishLink: Debug + Send + Sync {
    /// Opens a channel that gives each confirm to the ledger.
    async fn open(&self, ledger: Arc<Ledger>) -> Result<Box<dyn PublishChannel>>;

    /// How the link ended.
    fn fate(&self) -> &Arc<Fate>;

    /// Whether new channels had better be opened on a new link: drivers never use the number of
    /// a channel again that the broker closed.
    fn is_used_up(&self) -> bool;

    /// Ends the link at once.
    fn cut(&self);

    /// Ends the link with a goodbye.
    async fn close(&self);
}

/// A channel that publishes. One caller at a time.
#[async_trait]
pub(crate) trait PublishChannel: Send {
    /// Sends messages in order, each entered in the ledger first. Leaves in `entries` those that
    /// were not sent because the channel is gone. Not cancel safe.
    async fn send(&mut self, entries: &mut Vec<Entry>) -> Result<()>;

    /// Closes the channel.
    async fn close(&mut self);
}
