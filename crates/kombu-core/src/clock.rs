//! A logical clock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lamport's clock: it orders what processes do that tell each other its times.
///
/// ```
/// use kombu_core::clock::LamportClock;
/// let clock = LamportClock::new();
/// assert_eq!(clock.forward(), 1);
/// assert_eq!(clock.adjust(7), 8);
/// assert_eq!(clock.adjust(3), 9);
/// ```
///
/// # Kombu
///
/// `kombu.clocks.LamportClock`.
#[derive(Debug, Default)]
pub struct LamportClock(AtomicU64);

impl LamportClock {
    /// A clock at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something happens here: the clock goes on by one. Returns the new time.
    pub fn forward(&self) -> u64 {
        self.adjust(0)
    }

    /// The time of somebody else is heard: the clock goes beyond it, and by at least one. Returns
    /// the new time.
    pub fn adjust(&self, other: u64) -> u64 {
        let beyond = |own: u64| own.max(other).saturating_add(1);
        let before =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |own| Some(beyond(own)));
        // The update never declines.
        let (Ok(before) | Err(before)) = before;
        beyond(before)
    }

    /// The time.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
