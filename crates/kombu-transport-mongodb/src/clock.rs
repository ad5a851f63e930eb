//! Times as the server has them, and the ids of messages, which are times.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::DateTime;
use mongodb::bson::oid::ObjectId;
use uuid::Uuid;

/// The server's clock, as far as it is known here.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// How far the server's is ahead of this machine's, in milliseconds.
    ahead: AtomicI64,
}

impl Clock {
    /// Notes the time that the server told between two moments here.
    pub(crate) fn set(&self, server: DateTime, asked: SystemTime, answered: SystemTime) {
        let here = (millis(asked) + millis(answered)) / 2;
        self.ahead.store(server.timestamp_millis() - here, Ordering::Release);
    }

    pub(crate) fn now(&self) -> DateTime {
        self.after(Duration::ZERO)
    }

    /// The time after some time from now.
    pub(crate) fn after(&self, time: Duration) -> DateTime {
        let here = millis(SystemTime::now()) + self.ahead.load(Ordering::Acquire);
        let time = i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
        DateTime::from_millis(here.saturating_add(time).min(LATEST))
    }

    fn since_epoch(&self) -> Duration {
        let here = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = self.ahead.load(Ordering::Acquire);
        let by = Duration::from_millis(ahead.unsigned_abs());
        if ahead < 0 { here.saturating_sub(by) } else { here + by }
    }
}

/// Makes ids that rise: a queue is served in their order.
///
/// An id is an object id as any: seconds first. What is random in those of the driver is here a
/// fraction of the second, of 60 ns, and then something random of this process; so the messages of
/// several publishers come in the order of their times. Ids of one value rise whatever the clock
/// does.
#[derive(Debug)]
pub(crate) struct Ids {
    last: AtomicU64,
    own: [u8; 5],
}

impl Default for Ids {
    fn default() -> Self {
        let mut own = [0; 5];
        own.copy_from_slice(&Uuid::new_v4().as_bytes()[..5]);
        Self { last: AtomicU64::new(0), own }
    }
}

impl Ids {
    pub(crate) fn next(&self, clock: &Clock) -> ObjectId {
        let now = clock.since_epoch();
        let fraction = u64::from(now.subsec_nanos()) * (1 << FRACTION_BITS) / 1_000_000_000;
        let now = (now.as_secs() << FRACTION_BITS) | fraction;
        let later = |last: u64| Some(now.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
        let time = last.map_or(now, |last| now.max(last + 1));
        let mut bytes = [0; 12];
        bytes[..7].copy_from_slice(&time.to_be_bytes()[1..]);
        bytes[7..].copy_from_slice(&self.own);
        ObjectId::from_bytes(bytes)
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The bits of a second's fraction.
const FRACTION_BITS: u32 = 24;

/// The year 9999: later dates are none to others.
const LATEST: i64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_are_of_now() {
        let (ids, clock) = (Ids::default(), Clock::default());
        let made: Vec<_> = (0..10_000).map(|_| ids.next(&clock)).collect();
        assert!(made.is_sorted_by(|one, next| one.bytes() < next.bytes()));
        let age = clock.now().timestamp_millis() - made[0].timestamp().timestamp_millis();
        assert!((0..10_000).contains(&age), "{age}");
    }

    #[test]
    fn ids_rise_when_the_clock_goes_back() {
        let (ids, clock) = (Ids::default(), Clock::default());
        let first = ids.next(&clock);
        let now = SystemTime::now();
        clock.set(DateTime::from_millis(millis(now) - 5000), now, now);
        assert!(first.bytes() < ids.next(&clock).bytes());
    }

    #[test]
    fn two_that_make_ids_make_others() {
        let clock = Clock::default();
        assert_ne!(
            Ids::default().next(&clock).bytes()[7..],
            Ids::default().next(&clock).bytes()[7..]
        );
    }

    #[test]
    fn times_are_the_servers() {
        let clock = Clock::default();
        let now = SystemTime::now();
        clock.set(DateTime::from_millis(millis(now) + 60_000), now, now);
        let ahead = clock.now().timestamp_millis() - millis(SystemTime::now());
        assert!((59_000..=61_000).contains(&ahead), "{ahead}");
        assert_eq!(clock.after(Duration::MAX).timestamp_millis(), LATEST);
    }
}
