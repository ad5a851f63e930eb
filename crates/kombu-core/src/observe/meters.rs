//! Counters, gauges and histograms, for whatever recorder the program has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use metrics::{counter, gauge, histogram};

pub(crate) struct Publishing {
    transport: &'static str,
    begun: Instant,
}

impl Publishing {
    pub(super) fn begin(transport: &'static str) -> Self {
        counter!("kombu_published_total", "transport" => transport).increment(1);
        Self { transport, begun: Instant::now() }
    }

    pub(super) fn end(&self, confirmed: bool) {
        let Self { transport, begun } = *self;
        if confirmed {
            counter!("kombu_confirmed_total", "transport" => transport).increment(1);
            let took = begun.elapsed().as_secs_f64();
            histogram!("kombu_publish_seconds", "transport" => transport).record(took);
        } else {
            counter!("kombu_publish_failed_total", "transport" => transport).increment(1);
        }
    }
}

pub(crate) struct Processing {
    transport: &'static str,
    queue: Arc<str>,
    begun: Instant,
}

impl Processing {
    pub(super) fn begin(transport: &'static str, queue: &Arc<str>) -> Self {
        Self { transport, queue: Arc::clone(queue), begun: Instant::now() }
    }

    pub(super) fn end(&self) {
        let (transport, queue) = (self.transport, Arc::clone(&self.queue));
        let took = self.begun.elapsed().as_secs_f64();
        histogram!("kombu_process_seconds", "transport" => transport, "queue" => queue)
            .record(took);
    }
}

/// A message that is handed out and not settled; it ends once, at the latest when the last clone is
/// dropped.
#[derive(Clone)]
pub(crate) struct InFlight(Option<Arc<Unsettled>>);

struct Unsettled {
    transport: &'static str,
    over: AtomicBool,
}

impl InFlight {
    pub(super) fn begin(transport: &'static str, queue: &Arc<str>, no_ack: bool) -> Self {
        let queue = Arc::clone(queue);
        counter!("kombu_delivered_total", "transport" => transport, "queue" => queue).increment(1);
        Self((!no_ack).then(|| {
            gauge!("kombu_in_flight", "transport" => transport).increment(1);
            Arc::new(Unsettled { transport, over: AtomicBool::new(false) })
        }))
    }

    pub(crate) fn end(&self) {
        if let Some(unsettled) = &self.0 {
            unsettled.end();
        }
    }
}

impl Unsettled {
    fn end(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            gauge!("kombu_in_flight", "transport" => self.transport).decrement(1);
        }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").finish_non_exhaustive()
    }
}

pub(super) fn settled(transport: &'static str, outcome: &'static str) {
    counter!("kombu_settled_total", "transport" => transport, "outcome" => outcome).increment(1);
}

pub(crate) fn reconnected(transport: &'static str) {
    counter!("kombu_reconnects_total", "transport" => transport).increment(1);
}
