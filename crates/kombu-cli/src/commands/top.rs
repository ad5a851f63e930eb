//! `kombu top`.

mod reading;
mod table;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use kombu::Connection;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::reading::{Reading, read_all};
use self::table::Table;
use crate::arguments::{Broker, name, seconds};
use crate::end::{End, Outcome, Stop};
use crate::session::Session;

/// Shows how many messages wait in queues, how fast that grows or shrinks, and who consumes.
///
/// On a terminal it shows them until it is interrupted; elsewhere it writes a table for each look.
/// The rate is that of the number which waits: what comes less what goes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Top {
    #[command(flatten)]
    broker: Broker,
    /// The queues.
    #[arg(value_name = "QUEUE", required = true, value_parser = name)]
    queues: Vec<String>,
    /// How long it is between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    interval: Duration,
    /// Ends after so many looks; the first one has no rates.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "once")]
    count: Option<u64>,
    /// Looks twice, one interval apart, and writes what it saw once.
    #[arg(long)]
    once: bool,
    /// Writes a JSON object on a line of its own for each queue.
    #[arg(long)]
    json: bool,
}

/// A queue as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    queue: &'a str,
    messages: Option<u64>,
    rate: Option<f64>,
    consumers: Option<u32>,
    time: f64,
}

impl Top {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let outcome = self.watch(session, &connection).await;
        connection.close().await?;
        outcome
    }

    async fn watch(&self, session: &mut Session, connection: &Connection) -> Outcome {
        let broker = session.interrupt.unless(connection.capabilities()).await?;
        let channel = connection.channel();
        let mut table = Table::new(session.shown && !self.once);
        let mut last: Option<Vec<Reading>> = None;
        let mut looks = 0;
        let mut next = Instant::now();
        loop {
            let look = async {
                sleep_until(next).await;
                let consumers = broker.consumer_count;
                Ok::<_, Stop>(read_all(&channel, &self.queues, consumers).await)
            };
            let mut readings = session.interrupt.unless(look).await?;
            if self.once
                && let Some(error) = readings.iter_mut().find_map(Reading::take_error)
            {
                return Err(error.into());
            }
            for (reading, last) in readings.iter_mut().zip(last.iter().flatten()) {
                reading.compare(last);
            }
            looks += 1;
            if !self.once || last.is_some() {
                self.show(session, &mut table, &readings)?;
            }
            if looks == if self.once { 2 } else { self.count.unwrap_or(u64::MAX) } {
                return Ok(End::Done);
            }
            last = Some(readings);
            // A broker that was slow is not asked again at once.
            next = (next + self.interval).max(Instant::now());
        }
    }

    fn show(
        &self,
        session: &mut Session,
        table: &mut Table,
        readings: &[Reading],
    ) -> Result<(), Stop> {
        if !self.json {
            return session.print(table.draw(readings).as_bytes());
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut lines = Vec::new();
        for reading in readings {
            let line = Line {
                queue: reading.queue(),
                messages: reading.messages(),
                rate: reading.rate(),
                consumers: reading.consumers(),
                time,
            };
            serde_json::to_writer(&mut lines, &line)
                .map_err(|error| Stop::failed("cannot write the line", error))?;
            lines.push(b'\n');
        }
        session.print(&lines)
    }
}

const EXAMPLES: &str = "\
Examples:
  kombu top amqp://localhost// video audio
  kombu top redis://localhost celery --interval 5
  kombu top amqp://localhost// video --once --json | jq .messages";
