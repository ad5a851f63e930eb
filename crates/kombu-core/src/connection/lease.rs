//! A raw channel in use, closed when nobody holds it any more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use super::supervisor::Control;
use crate::transport::RawChannel;

/// A raw channel of one link, shared by a handle and the deliveries that came through it.
pub(crate) struct Lease {
    pub(crate) generation: u64,
    /// The name of its transport.
    pub(crate) transport: &'static str,
    pub(crate) raw: Arc<dyn RawChannel>,
    dead: AtomicBool,
    control: mpsc::UnboundedSender<Control>,
}

impl Lease {
    pub(crate) fn new(
        generation: u64,
        transport: &'static str,
        raw: Arc<dyn RawChannel>,
        control: mpsc::UnboundedSender<Control>,
    ) -> Self {
        Self { generation, transport, raw, dead: AtomicBool::new(false), control }
    }

    /// Marks the channel as not to be used for anything new.
    pub(crate) fn bury(&self) {
        self.dead.store(true, Ordering::Release);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _link_gone = self.control.send(Control::CloseChannel(Arc::clone(&self.raw)));
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("generation", &self.generation)
            .field("dead", &self.is_dead())
            .finish_non_exhaustive()
    }
}
