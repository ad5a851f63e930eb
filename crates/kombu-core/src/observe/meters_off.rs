//! What [`meters`](super) are without the feature `metrics`: nothing.

use std::sync::Arc;

pub(crate) struct Publishing;

impl Publishing {
    pub(super) fn begin(_transport: &'static str) -> Self {
        Self
    }

    pub(super) fn end(&self, _confirmed: bool) {}
}

pub(crate) struct Processing;

impl Processing {
    pub(super) fn begin(_transport: &'static str, _queue: &Arc<str>) -> Self {
        Self
    }

    pub(super) fn end(&self) {}
}

/// A message that is handed out and not settled.
#[derive(Clone, Debug)]
pub(crate) struct InFlight;

impl InFlight {
    pub(super) fn begin(_transport: &'static str, _queue: &Arc<str>, _no_ack: bool) -> Self {
        Self
    }

    pub(crate) fn end(&self) {}
}

pub(super) fn settled(_transport: &'static str, _outcome: &'static str) {}

pub(crate) fn reconnected(_transport: &'static str) {}
