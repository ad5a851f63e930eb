//! What is seen of a queue.

use std::time::Duration;

use kombu::transport::QueueInfo;
use kombu::{Channel, Error, ErrorKind, Queue};
use tokio::time::{Instant, timeout};

/// A queue at a moment.
#[derive(Debug)]
pub(super) struct Reading {
    queue: String,
    at: Instant,
    seen: Seen,
    /// Messages a second, compared with an earlier reading.
    rate: Option<f64>,
}

#[derive(Debug)]
enum Seen {
    There {
        messages: u64,
        consumers: Option<u32>,
    },
    Missing,
    /// The broker did not say; the error is taken by who ends for it.
    Unknown(Option<Error>),
}

/// Looks at all queues. `counted` says whether the broker counts consumers.
pub(super) async fn read_all(channel: &Channel, queues: &[String], counted: bool) -> Vec<Reading> {
    let mut readings = Vec::with_capacity(queues.len());
    for queue in queues {
        let passive = Queue::new(queue.as_str()).passive(true);
        let answer = timeout(PATIENCE, channel.declare_queue(&passive)).await;
        let answer = answer.unwrap_or_else(|_elapsed| {
            let error = Error::new(ErrorKind::Timeout, format!("no answer within {PATIENCE:?}"));
            Err(error.during("ask for the size").with("queue", queue))
        });
        let seen = Seen::new(answer, counted);
        readings.push(Reading { queue: queue.clone(), at: Instant::now(), seen, rate: None });
    }
    readings
}

impl Reading {
    /// Sets the rate, from an earlier reading of the same queue.
    pub(super) fn compare(&mut self, earlier: &Self) {
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        if let (Some(now), Some(before)) = (self.messages(), earlier.messages())
            && elapsed > 0.0
        {
            let rate = (now as f64 - before as f64) / elapsed;
            // A tenth is as exact as it is.
            self.rate = Some((rate * 10.0).round() / 10.0 + 0.0);
        }
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    /// How many messages wait; `None` for a queue that is missing or unknown.
    pub(super) fn messages(&self) -> Option<u64> {
        match self.seen {
            Seen::There { messages, .. } => Some(messages),
            Seen::Missing | Seen::Unknown(_) => None,
        }
    }

    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    pub(super) fn consumers(&self) -> Option<u32> {
        match self.seen {
            Seen::There { consumers, .. } => consumers,
            Seen::Missing | Seen::Unknown(_) => None,
        }
    }

    /// The word for what is no number.
    pub(super) fn state(&self) -> &'static str {
        match self.seen {
            Seen::There { .. } => "",
            Seen::Missing => "missing",
            Seen::Unknown(_) => "unknown",
        }
    }

    /// Why it is unknown.
    pub(super) fn error(&self) -> Option<&Error> {
        match &self.seen {
            Seen::Unknown(error) => error.as_ref(),
            Seen::There { .. } | Seen::Missing => None,
        }
    }

    pub(super) fn take_error(&mut self) -> Option<Error> {
        match &mut self.seen {
            Seen::Unknown(error) => error.take(),
            Seen::There { .. } | Seen::Missing => None,
        }
    }
}

impl Seen {
    fn new(answer: kombu::Result<QueueInfo>, counted: bool) -> Self {
        match answer {
            Ok(info) => Self::There {
                messages: info.messages,
                consumers: counted.then_some(info.consumers),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unknown(Some(error)),
        }
    }
}

/// How long a broker has to answer; longer than a busy one needs, shorter than an outage.
const PATIENCE: Duration = Duration::from_secs(5);
