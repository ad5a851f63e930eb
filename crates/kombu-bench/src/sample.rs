//! What one run gave, and what many say together.

use std::time::Duration;

/// One run of one contender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) messages: u64,
    pub(crate) wall: Duration,
    /// CPU of the contender's process.
    pub(crate) cpu: Duration,
    pub(crate) broker_cpu: Option<Duration>,
    /// Round trips, where the case is about them.
    pub(crate) latencies: Vec<Duration>,
}

impl Sample {
    /// Messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    /// Microseconds of CPU per message.
    pub(crate) fn cpu_micros(&self) -> f64 {
        micros(self.cpu, self.messages)
    }

    /// Microseconds of the broker's CPU per message.
    pub(crate) fn broker_micros(&self) -> Option<f64> {
        self.broker_cpu.map(|cpu| micros(cpu, self.messages))
    }

    /// The round trip, in microseconds, that `percent` of all stay under.
    pub(crate) fn latency_micros(&self, percent: usize) -> Option<f64> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get(last * percent / 100).map(|latency| latency.as_secs_f64() * 1e6)
    }
}

/// The middle of many numbers, and their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// None of no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = match middle.checked_sub(1) {
            Some(below) if sorted.len().is_multiple_of(2) => f64::midpoint(sorted[below], upper),
            _ => upper,
        };
        Some(Self { median, least: *sorted.first()?, most: *sorted.last()? })
    }
}

fn micros(time: Duration, messages: u64) -> f64 {
    time.as_secs_f64() * 1e6 / messages as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert!((Spread::of([1.0, 2.0]).unwrap().median - 1.5).abs() < 1e-9);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_measured() {
        let latencies = (1..=101).map(Duration::from_micros).collect();
        let sample = Sample { latencies, ..Sample::default() };
        assert!((sample.latency_micros(50).unwrap() - 51.0).abs() < 1e-6);
        assert!((sample.latency_micros(99).unwrap() - 100.0).abs() < 1e-6);
    }
}
