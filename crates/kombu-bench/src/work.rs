//! What one run is to do.

use crate::body::Body;
use crate::broker::Broker;
use crate::meter::Meter;

/// One run of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// The broker's URL.
    pub(crate) url: String,
    /// The queue, which is there: empty for publishing, filled with `count` messages for consuming.
    pub(crate) queue: String,
    pub(crate) body: Body,
    pub(crate) count: u64,
    /// The most unsettled messages of a consumer.
    pub(crate) prefetch: u16,
    /// The most unconfirmed messages of a producer.
    pub(crate) window: usize,
    pub(crate) broker: Option<Broker>,
}

impl Work {
    /// Starts the clocks.
    pub(crate) fn meter(&self) -> Meter {
        Meter::start(self.broker)
    }

    /// Checks a received body, as far as that costs nothing.
    pub(crate) fn check(&self, body: &[u8]) -> anyhow::Result<()> {
        let (came, sent) = (body.len(), self.body.len());
        anyhow::ensure!(came == sent, "a body of {came} bytes came, {sent} were sent");
        Ok(())
    }
}
