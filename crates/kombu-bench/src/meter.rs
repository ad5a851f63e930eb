//! The clocks of a run.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::broker::Broker;
use crate::sample::Sample;

/// Running clocks: the wall's, this process's, the broker's.
#[derive(Debug)]
pub(crate) struct Meter {
    wall: Instant,
    cpu: Duration,
    broker: Option<(Broker, Duration)>,
}

impl Meter {
    /// Starts them.
    pub(crate) fn start(broker: Option<Broker>) -> Self {
        let broker = broker.map(|broker| (broker, broker.cpu()));
        Self { broker, cpu: process_cpu(), wall: Instant::now() }
    }

    /// Stops them.
    pub(crate) fn stop(self, messages: u64) -> Sample {
        let wall = self.wall.elapsed();
        let cpu = process_cpu().saturating_sub(self.cpu);
        let broker_cpu = self.broker.map(|(broker, before)| broker.cpu().saturating_sub(before));
        Sample { messages, wall, cpu, broker_cpu, latencies: Vec::new() }
    }
}

/// The CPU that this process has used, threads that have ended included.
fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), nanos)
}
