//! The places of a pool: how many things may be lent, and which one is lent next.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::{Instant, timeout_at};

use crate::connection::lock;
use crate::error::{Error, ErrorKind, Result};

/// At most `limit` things lent at a time. What came back last is lent next, so that the others
/// grow old and a pool that is larger than needed shows it.
#[derive(Debug)]
pub(super) struct Slots<T> {
    limit: usize,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<T>>,
}

/// A place that is taken; dropped, it is free again.
pub(super) type Place = OwnedSemaphorePermit;

impl<T> Slots<T> {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { limit, places: Arc::new(Semaphore::new(limit)), idle: Mutex::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> usize {
        self.limit.saturating_sub(self.places.available_permits())
    }

    /// Takes a place if one is free.
    pub(super) fn try_enter(&self) -> Result<Place> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::Closed => closed(),
            TryAcquireError::NoPermits => self.exceeded(),
        })
    }

    /// Takes a place, waiting for one until the deadline; those who wait are served in turn.
    pub(super) async fn enter(&self, deadline: Instant) -> Result<Place> {
        match timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_closed)) => Err(closed()),
            Err(_elapsed) => Err(self.exceeded()),
        }
    }

    /// The thing that came back last. Whoever has a place and gets none makes one: the places
    /// bound how many there are.
    pub(super) fn newest(&self) -> Option<T> {
        lock(&self.idle).pop()
    }

    /// Takes a thing back, and frees its place after that: else somebody could find the place free
    /// and no thing, and make one too many.
    pub(super) fn give_back(&self, thing: T, place: Place) {
        let mut idle = lock(&self.idle);
        if self.places.is_closed() {
            // Dropped outside of the lock, with what it may do then.
            drop(idle);
            drop(thing);
        } else {
            idle.push(thing);
            drop(idle);
        }
        drop(place);
    }

    /// Ends lending, and returns what is not lent.
    pub(super) fn close(&self) -> Vec<T> {
        // Under the lock, so that nothing comes back between the two.
        let mut idle = lock(&self.idle);
        self.places.close();
        std::mem::take(&mut *idle)
    }

    fn exceeded(&self) -> Error {
        Error::new(ErrorKind::LimitExceeded, "all are lent").with("limit", self.limit)
    }
}

fn closed() -> Error {
    Error::closed("pool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_last_is_lent_next() {
        let slots = Slots::new(3);
        let places: Vec<_> = (0..3).map(|_| slots.try_enter().expect("there is room")).collect();
        for (thing, place) in places.into_iter().enumerate() {
            slots.give_back(thing, place);
        }
        assert_eq!((slots.taken(), slots.newest(), slots.newest()), (0, Some(2), Some(1)));
    }

    #[test]
    fn no_more_are_lent_than_the_limit_and_nothing_by_a_closed_one() {
        let slots = Slots::<()>::new(1);
        let place = slots.try_enter().expect("there is room");
        let error = slots.try_enter().expect_err("it is taken");
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.to_string().contains("limit=1"), "{error}");
        drop(place);
        let place = slots.try_enter().expect("it is free again");
        assert!(slots.close().is_empty());
        slots.give_back((), place);
        assert!(slots.newest().is_none());
        assert_eq!(slots.try_enter().map(drop).expect_err("closed").kind(), ErrorKind::Closed);
    }
}
