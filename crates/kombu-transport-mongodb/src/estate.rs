//! What lost links held, to be given back by the next ones without waiting for the time when it
//! would be taken for abandoned.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mongodb::bson::oid::ObjectId;
use tokio::time::Instant;

/// The owners of what lost links of one transport held.
#[derive(Debug, Default)]
pub(crate) struct Estates {
    left: Mutex<Vec<(ObjectId, Instant)>>,
}

impl Estates {
    /// Notes the owner of a lost link. What it sent and the server has not done yet may still
    /// take messages for it: it is looked for until these would go back by themselves.
    pub(crate) fn leave(&self, owner: ObjectId, lease: Duration) {
        let until = Instant::now() + lease * 2;
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push((owner, until));
    }

    /// The owners whose messages are to go back.
    pub(crate) fn owners(&self) -> Vec<ObjectId> {
        let now = Instant::now();
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|(_, until)| *until > now);
        left.iter().map(|(owner, _)| *owner).collect()
    }
}
