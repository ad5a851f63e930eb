//! The time that names of message files begin with.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds since the machine was started, another number on each call: what was named later by
/// this process is larger.
pub(crate) fn next() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = now();
    let mut last = LAST.load(Ordering::Relaxed);
    loop {
        let next = now.max(last.saturating_add(1));
        match LAST.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return next,
            Err(other) => last = other,
        }
    }
}

/// What Python's `time.monotonic` says.
#[cfg(unix)]
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Elsewhere the time of day: later than what Python says.
#[cfg(not(unix))]
fn now() -> u64 {
    let time = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_time_is_later_than_the_one_before() {
        let times: Vec<_> = (0..10_000).map(|_| super::next()).collect();
        assert!(times.is_sorted_by(|one, next| one < next));
    }
}
