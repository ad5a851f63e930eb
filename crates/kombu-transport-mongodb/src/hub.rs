//! What all connections of a transport to one database share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kombu_virtual::Waiters;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Ids;
use crate::estate::Estates;
use crate::fanout::{FanQueue, Fanouts};

/// What all connections of a transport share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) ids: Ids,
    pub(crate) estates: Estates,
    hubs: Mutex<HashMap<String, Arc<Hub>>>,
}

impl Shared {
    /// The hub of a database, by its servers and its name.
    pub(crate) fn hub(&self, place: &str) -> Arc<Hub> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hubs.entry(place.to_owned()).or_default())
    }
}

/// What all connections to one database share.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) waiters: Waiters<Arc<str>>,
    pub(crate) fanouts: Fanouts,
    /// Changes when something was published to a fanout exchange, or a queue was bound to one.
    pub(crate) pulse: watch::Sender<u64>,
    /// Queues of fanout exchanges whose links were lost: the next links go on with them.
    left: Mutex<Vec<(Instant, Arc<FanQueue>)>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            waiters: Waiters::default(),
            fanouts: Fanouts::default(),
            pulse: watch::Sender::new(0),
            left: Mutex::default(),
        }
    }
}

impl Hub {
    /// Says that there may be something to read for queues of fanout exchanges.
    pub(crate) fn beat(&self) {
        self.pulse.send_modify(|pulse| *pulse = pulse.wrapping_add(1));
    }

    /// Keeps queues for a while for the next link.
    pub(crate) fn keep(&self, queues: impl IntoIterator<Item = Arc<FanQueue>>) {
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|(since, _)| now - *since < KEPT);
        left.extend(queues.into_iter().map(|queue| (now, queue)));
    }

    /// Lets go of what nobody came back for.
    pub(crate) fn prune(&self) {
        self.keep([]);
    }
}

/// How long a queue of a fanout exchange waits for its next link.
const KEPT: Duration = Duration::from_secs(300);
