//! `kombu move`.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kombu::{Acker, BrokerUrls, Connection, Consumer, Delivery, Outcome as Fate, Producer, Queue};
use tokio::time::sleep;

use crate::arguments::{Patience, name};
use crate::connect::{connect, ensure_queue};
use crate::end::{End, Outcome, Stop};
use crate::session::Session;
use crate::settler::{Settler, prefetch};
use crate::window::{LIMIT, Window};

/// Moves messages from a queue to another one, of the same broker or of another.
///
/// Bodies, headers and properties stay as they are. A message is acknowledged at its source only
/// after its target has confirmed it: nothing is lost, whatever breaks, and what was under way
/// then may be in both. Ends when the source is empty. The target is declared if it is missing.
/// Options of transports go into the URLs.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Move {
    /// The URL of the broker to take from.
    #[arg(value_name = "FROM_URL")]
    from_url: String,
    /// The queue to take from.
    #[arg(value_name = "FROM_QUEUE", value_parser = name)]
    from_queue: String,
    /// The URL of the broker to give to.
    #[arg(value_name = "TO_URL")]
    to_url: String,
    /// The queue to give to.
    #[arg(value_name = "TO_QUEUE", value_parser = name)]
    to_queue: String,
    /// Ends after this many messages, and takes no more than that.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    patience: Patience,
}

impl Move {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        if self.to_queue == self.from_queue
            && BrokerUrls::parse(&self.to_url)? == BrokerUrls::parse(&self.from_url)?
        {
            return Err(Stop::said(format!(
                "the queue {} cannot be moved to itself",
                self.to_queue
            )));
        }
        let source = connect(session, &self.from_url, &[], self.patience.connect_timeout).await?;
        let target = connect(session, &self.to_url, &[], self.patience.connect_timeout).await?;
        let waiting = session.interrupt.unless(source.size(&self.from_queue)).await?;
        let producer = session.interrupt.unless(self.producer(&target)).await?;
        let consumer = session.interrupt.unless(self.consumer(&source)).await?;
        let mut transfer = Transfer {
            source: &source,
            producer: &producer,
            queue: &self.from_queue,
            settler: Settler::new(Fate::Ack, self.count, self.prefetch()),
            window: Window::new(),
            received: 0,
            moved: 0,
            progress: progress(
                session.watched,
                self.count.map_or(waiting, |count| count.min(waiting)),
            ),
        };
        let outcome = transfer.run(session, consumer, self.count).await;
        transfer.progress.finish_and_clear();
        let moved = transfer.moved;
        let closed = (source.close().await, target.close().await);
        session.say(&format!("moved {moved}"));
        let end = outcome?;
        closed.0?;
        closed.1?;
        Ok(end)
    }

    fn prefetch(&self) -> u16 {
        prefetch(u16::try_from(LIMIT).unwrap_or(u16::MAX), self.count)
    }

    async fn producer(&self, target: &Connection) -> kombu::Result<Producer> {
        ensure_queue(&target.channel(), &self.to_queue).await?;
        // A target that is deleted meanwhile must not swallow messages.
        let mandatory = target.capabilities().await?.mandatory;
        Ok(target.producer().await?.routing_key(&self.to_queue).mandatory(mandatory))
    }

    async fn consumer(&self, source: &Connection) -> kombu::Result<Consumer> {
        let queue = Queue::new(&self.from_queue).no_declare();
        source.consumer(queue).prefetch(self.prefetch()).start().await
    }
}

/// A move under way.
struct Transfer<'a> {
    source: &'a Connection,
    producer: &'a Producer,
    queue: &'a str,
    settler: Settler,
    window: Window<Acker>,
    received: u64,
    moved: u64,
    progress: ProgressBar,
}

impl Transfer<'_> {
    /// Moves until the count, the end of the queue, an interrupt or a failure, then waits for
    /// what is under way, and gives back what was fetched besides.
    async fn run(
        &mut self,
        session: &mut Session,
        mut consumer: Consumer,
        count: Option<u64>,
    ) -> Outcome {
        let mut outcome = self.fetch(session, &mut consumer, count, false).await;
        consumer.cancel().await;
        if matches!(outcome, Ok(End::Done)) {
            // What was on its way when the queue was found empty, however long it takes.
            outcome = self.fetch(session, &mut consumer, count, true).await;
        }
        while let Some(fate) = self.window.next().await {
            if let Err(stop) = self.confirmed(fate)
                && outcome.is_ok()
            {
                outcome = Err(stop);
            }
        }
        let released = self.settler.release();
        let closed = consumer.close().await;
        let end = outcome?;
        released?;
        closed?;
        Ok(end)
    }

    /// Moves until there is nothing more to fetch: nothing in the queue, or of a consumer that
    /// was cancelled.
    async fn fetch(
        &mut self,
        session: &mut Session,
        consumer: &mut Consumer,
        count: Option<u64>,
        cancelled: bool,
    ) -> Outcome {
        while count.is_none_or(|count| self.received < count) {
            tokio::select! {
                biased;
                () = session.interrupt.wished() => return Ok(End::Interrupted),
                Some(fate) = self.window.next(), if !self.window.is_empty() => self.confirmed(fate)?,
                next = consumer.next(), if self.window.has_room() => {
                    let Some(delivery) = next else { break };
                    self.received += 1;
                    self.publish(delivery?).await;
                }
                () = sleep(LULL), if self.window.is_empty() && !cancelled => {
                    if self.source.size(self.queue).await? == 0 {
                        break;
                    }
                }
            }
        }
        Ok(End::Done)
    }

    async fn publish(&mut self, delivery: Delivery) {
        let (message, acker) = delivery.into_parts();
        let again = self.producer.publish_message(message.clone());
        let publication = self.producer.publish_message(message);
        self.window.push(acker, publication, again, |error| error).await;
    }

    /// Acknowledges a message that has arrived.
    fn confirmed(&mut self, fate: kombu::Result<Acker>) -> Result<(), Stop> {
        self.settler.settle(fate?)?;
        self.moved += 1;
        self.progress.inc(1);
        Ok(())
    }
}

fn progress(watched: bool, total: u64) -> ProgressBar {
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style =
        ProgressStyle::with_template("{bar:40} {pos} of {len} moved, {per_sec}, {eta} left");
    ProgressBar::with_draw_target(Some(total), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How long nothing comes before the queue is asked whether it is empty.
const LULL: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
Examples:
  kombu move amqp://localhost// video.failed amqp://localhost// video
  kombu move amqp://old// video amqp://new// video --count 1000";
