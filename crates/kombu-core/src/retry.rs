//! How often and how long to try again.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::Result;

/// When to try again after a failure, and when to give up.
///
/// The first wait is `interval_start`; each further one is longer by `interval_step`, up to
/// `interval_max`. It ends after `max_retries` further attempts or when `deadline`, which counts
/// from the start of the first attempt and covers all of them, has passed.
///
/// ```
/// use std::time::Duration;
/// use kombu_core::RetryPolicy;
/// let waits: Vec<u64> = RetryPolicy::default().waits().map(|wait| wait.as_secs()).take(4).collect();
/// assert_eq!(waits, [2, 4, 6, 8]);
/// let thrice = RetryPolicy::default().max_retries(2).interval_max(Duration::from_secs(3));
/// assert_eq!(thrice.waits().map(|wait| wait.as_secs()).collect::<Vec<_>>(), [2, 3]);
/// ```
///
/// # Kombu
///
/// The numbers of `ensure_connection`: 2 s, 2 s more each time, at most 30 s; `max_retries(n)`
/// means `n + 1` attempts. Kombu tries for ever unless told otherwise, and checks its time limit
/// only after an attempt; here there is a deadline by default.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    max_retries: Option<u32>,
    interval_start: Duration,
    interval_step: Duration,
    interval_factor: f64,
    interval_max: Duration,
    deadline: Option<Duration>,
    jitter: f64,
}

impl RetryPolicy {
    /// The first connection: waits of 2, 4, 6… s up to 30 s, for at most 30 s in all.
    ///
    /// This is the default.
    #[must_use]
    pub fn connect() -> Self {
        Self {
            max_retries: None,
            interval_start: Duration::from_secs(2),
            interval_step: Duration::from_secs(2),
            interval_factor: 1.0,
            interval_max: Duration::from_secs(30),
            deadline: Some(Duration::from_secs(30)),
            jitter: 0.0,
        }
    }

    /// A lost connection that must come back: waits of 0, 0.5, 1… s up to 10 s, each shortened at
    /// random by up to a fifth so that clients do not return all at once, without end.
    #[must_use]
    pub fn recover() -> Self {
        Self::connect()
            .interval_start(Duration::ZERO)
            .interval_step(Duration::from_millis(500))
            .interval_max(Duration::from_secs(10))
            .without_deadline()
            .jitter(0.2)
    }

    /// One publish, with connecting, declaring and confirming: waits of 0.1, 0.3, 0.5… s up to
    /// 1 s, for at most 30 s in all.
    #[must_use]
    pub fn publish() -> Self {
        Self::connect()
            .interval_start(Duration::from_millis(100))
            .interval_step(Duration::from_millis(200))
            .interval_max(Duration::from_secs(1))
    }

    /// A message whose handler failed: waits of 1, 2, 4… s up to 1 min, each shortened at random by
    /// up to a fifth, and 10 more attempts; without a deadline.
    #[must_use]
    pub fn message() -> Self {
        Self::connect()
            .interval_start(Duration::from_secs(1))
            .interval_step(Duration::ZERO)
            .interval_factor(2.0)
            .interval_max(Duration::from_secs(60))
            .without_deadline()
            .max_retries(10)
            .jitter(0.2)
    }

    /// One attempt and no more, without a deadline.
    #[must_use]
    pub fn once() -> Self {
        Self::connect().max_retries(0).without_deadline()
    }

    /// The number of attempts after the first. Default: no limit but the deadline.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        self.max_retries = Some(max_retries);
        self
    }

    /// The wait after the first attempt.
    #[must_use]
    pub fn interval_start(mut self, interval_start: Duration) -> Self {
        self.interval_start = interval_start;
        self
    }

    /// What each wait is longer than the one before it.
    #[must_use]
    pub fn interval_step(mut self, interval_step: Duration) -> Self {
        self.interval_step = interval_step;
        self
    }

    /// By how much each wait is multiplied for the next one, before the step is added; less than 1
    /// counts as 1. Default: 1.
    #[must_use]
    pub fn interval_factor(mut self, factor: f64) -> Self {
        self.interval_factor = factor.max(1.0);
        self
    }

    /// The longest wait; the first is cut to it too.
    #[must_use]
    pub fn interval_max(mut self, interval_max: Duration) -> Self {
        self.interval_max = interval_max;
        self
    }

    /// The time for everything: all attempts and all waits.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Takes the deadline away: only `max_retries`, if set, ends it.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// The part of each wait, from 0 to 1, by which it is shortened at random at most. Default: 0.
    #[must_use]
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        self
    }

    /// The time for everything, if it is limited.
    #[must_use]
    pub fn total(&self) -> Option<Duration> {
        self.deadline
    }

    /// The wait after so many failed attempts; `None` when it was the last one.
    #[must_use]
    pub fn wait_after(&self, attempts: u32) -> Option<Duration> {
        let before = attempts.saturating_sub(1);
        if self.max_retries.is_some_and(|most| before >= most) {
            return None;
        }
        // Somewhere the waits stop growing; a number from a header is not to keep this busy.
        let before = usize::try_from(before).unwrap_or(usize::MAX).min(LONG_AGO);
        self.waits().nth(before)
    }

    /// The waits between attempts, in order: `max_retries` of them, or endlessly many.
    #[must_use]
    pub fn waits(&self) -> Waits {
        Waits {
            next: self.interval_start,
            step: self.interval_step,
            factor: self.interval_factor,
            max: self.interval_max,
            left: self.max_retries,
            jitter: self.jitter,
        }
    }

    /// Tries until it works, fails for good, or the policy gives up.
    ///
    /// `attempt` is told its number from 0 and must itself end by the deadline it is given, so
    /// that no call is dropped half way. An error that is not
    /// [recoverable](crate::Error::is_recoverable) ends the tries at once; so does a wait that
    /// would outlast the deadline.
    ///
    /// # Errors
    ///
    /// The last error of `attempt`, with `attempts=n` in its context if there were several.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as the attempt that is under way.
    pub async fn run<T, F>(&self, mut attempt: impl FnMut(Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        // A deadline too far off to be a point in time is no deadline.
        let deadline = self.deadline.and_then(|total| Instant::now().checked_add(total));
        let mut waits = self.waits();
        let mut number = 0_u32;
        loop {
            let error = match attempt(Attempt { number, deadline }).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            number = number.saturating_add(1);
            let error = if number > 1 { error.with("attempts", number) } else { error };
            let in_time = |wait: &Duration| {
                let end = Instant::now().checked_add(*wait);
                deadline.is_none_or(|deadline| end.is_some_and(|end| end < deadline))
            };
            let wait = waits.next().filter(|_| error.is_recoverable()).filter(in_time);
            let Some(wait) = wait else {
                return Err(error);
            };
            tracing::debug!(%error, attempt = number, ?wait, "trying again");
            sleep(wait).await;
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::connect()
    }
}

/// What one attempt is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// How many attempts came before.
    pub number: u32,
    /// When the attempt must have ended, if there is a deadline.
    pub deadline: Option<Instant>,
}

/// The waits of a [`RetryPolicy`].
#[derive(Clone, Debug)]
pub struct Waits {
    next: Duration,
    step: Duration,
    factor: f64,
    max: Duration,
    left: Option<u32>,
    jitter: f64,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let wait = self.next.min(self.max);
        self.next = times(self.next, self.factor).saturating_add(self.step).min(self.max);
        Some(match self.jitter {
            0.0 => wait,
            jitter => times(wait, 1.0 - jitter * random_fraction()),
        })
    }
}

fn times(wait: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// After so many attempts nobody asks for the exact wait.
const LONG_AGO: usize = 1000;

/// A random number from 0 to 1. Good enough to spread load, and needs no dependency.
#[expect(clippy::cast_precision_loss, reason = "a fraction is wanted, not the digits")]
fn random_fraction() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn seconds(waits: impl Iterator<Item = Duration>) -> Vec<f64> {
        waits.map(|wait| wait.as_secs_f64()).collect()
    }

    #[test]
    fn waits_grow_to_the_maximum_as_in_kombu() {
        let waits = RetryPolicy::connect().waits().take(18);
        let expected = (1..=14).map(|n| f64::from(n) * 2.0).chain([30.0; 4]);
        assert_eq!(seconds(waits), expected.collect::<Vec<_>>());
        let waits = RetryPolicy::publish().waits().take(7);
        assert_eq!(seconds(waits), [0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 1.0]);
    }

    #[test]
    fn waits_are_clamped_from_the_first_on_and_never_overflow() {
        let policy = RetryPolicy::connect().interval_start(Duration::MAX);
        assert_eq!(seconds(policy.waits().take(2)), [30.0, 30.0]);
        let policy =
            RetryPolicy::connect().interval_step(Duration::MAX).interval_max(Duration::MAX);
        assert_eq!(policy.waits().nth(2), Some(Duration::MAX));
    }

    #[test]
    fn jitter_shortens_by_no_more_than_its_part_and_differs() {
        let waits: Vec<_> = RetryPolicy::recover().waits().skip(21).take(200).collect();
        assert!(waits.iter().all(|wait| (8.0..=10.0).contains(&wait.as_secs_f64())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }

    #[test]
    fn the_waits_of_a_message_double_and_end() {
        let policy = RetryPolicy::message().jitter(0.0);
        assert_eq!(
            seconds(policy.waits()),
            [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
        );
        let waits = (1..=12).map(|attempts| policy.wait_after(attempts));
        assert_eq!(
            waits.collect::<Vec<_>>(),
            policy.waits().map(Some).chain([None; 2]).collect::<Vec<_>>()
        );
        assert_eq!(policy.wait_after(u32::MAX), None);
        let endless = RetryPolicy::recover().jitter(0.0);
        assert_eq!(endless.wait_after(u32::MAX), Some(Duration::from_secs(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn max_retries_counts_attempts_after_the_first() {
        for (retries, attempts, seconds) in [(0, 1, 0), (1, 2, 2), (3, 4, 12)] {
            let start = Instant::now();
            let mut made = 0;
            let policy = RetryPolicy::connect().without_deadline().max_retries(retries);
            let error = policy
                .run(|attempt| {
                    assert_eq!((attempt.number, attempt.deadline), (made, None));
                    made += 1;
                    async { Err::<(), _>(Error::lost("refused")) }
                })
                .await
                .unwrap_err();
            assert_eq!(made, attempts);
            assert_eq!(start.elapsed().as_secs(), seconds);
            assert_eq!(error.kind(), ErrorKind::ConnectionLost);
            assert_eq!(error.to_string().contains("attempts="), attempts > 1, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_covers_attempts_and_waits() {
        let start = Instant::now();
        let mut made = 0;
        let policy = RetryPolicy::connect().deadline(Duration::from_secs(10)).max_retries(9);
        let error = policy
            .run(|attempt| {
                made += 1;
                assert_eq!(attempt.deadline, Some(start + Duration::from_secs(10)));
                async {
                    sleep(Duration::from_secs(1)).await;
                    Err::<(), _>(Error::lost("refused"))
                }
            })
            .await
            .unwrap_err();
        // 1 s, wait 2, 1 s, wait 4, 1 s: the next wait of 6 s would end after the deadline.
        assert_eq!((made, start.elapsed().as_secs()), (3, 9));
        assert!(error.to_string().contains("attempts=3"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn success_and_errors_that_cannot_heal_end_it_at_once() {
        let start = Instant::now();
        let policy = RetryPolicy::connect();
        let refused = || Error::new(ErrorKind::AccessRefused, "bad password");
        let error = policy.run(|_| async { Err::<(), _>(refused()) }).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::AccessRefused, 0));
        let number = policy
            .run(|attempt| async move {
                if attempt.number < 2 { Err(Error::lost("refused")) } else { Ok(attempt.number) }
            })
            .await
            .unwrap();
        assert_eq!((number, start.elapsed().as_secs()), (2, 6));
    }
}
