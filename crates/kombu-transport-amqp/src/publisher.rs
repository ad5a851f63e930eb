//! The publishing side of a channel: one task per way of publishing, started at the first use.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kombu_core::transport::{Confirm, Publish};
use kombu_core::{Error, Result};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::channel::Inner;
use crate::driver::PublishChannel;
use crate::driver::publish::{LapinPublisher, Ownership};
use crate::ledger::{Entry, Ledger};
use crate::tasks::Tasks;

/// How a message is published.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// On the connection for publishing.
    Link,
    /// On the channel that consumes: the broker ties direct replies to the channel that consumes
    /// them.
    Control,
}

/// Publishes for one channel.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    link: OnceLock<Queue>,
    control: OnceLock<Queue>,
}

#[derive(Debug)]
struct Queue {
    entries: mpsc::Sender<Entry>,
    /// Dropped when the task ends.
    task: watch::Receiver<()>,
}

impl Publisher {
    /// Queues a message. Cancel safe: it is queued or it is not.
    pub(crate) async fn publish(
        &self,
        publish: Arc<Publish>,
        inner: &Arc<Inner>,
        tasks: &Tasks,
    ) -> Result<Confirm> {
        let options = &inner.connection().settings().options;
        let (way, queue) = match publish.message.properties.reply_to.as_deref() {
            Some(DIRECT_REPLY) => (Way::Control, &self.control),
            _ => (Way::Link, &self.link),
        };
        let queue = queue.get_or_init(|| {
            let (entries, waiting) = mpsc::channel(QUEUE);
            let (alive, task) = watch::channel(());
            let pump = Pump::new(Arc::clone(inner), way, options.publish_window);
            tasks.spawn(async move {
                pump.run(waiting).await;
                drop(alive);
            });
            Queue { entries, task }
        });
        let waits = options.confirm_publish || publish.mandatory;
        let (confirm, waiting) = Confirm::pair();
        tokio::select! {
            biased;
            queued = queue.entries.send(Entry { publish, confirm }) => {
                queued.map_err(|_ended| inner.gone())?;
            }
            // The window is full, and will not get room soon.
            blocked = inner.connection().blocked().wait() => return Err(blocked),
        }
        Ok(if waits { waiting } else { Confirm::ready(Ok(())) })
    }

    /// Waits until what was queued is answered, once the channel is closing.
    pub(crate) async fn finished(&self) {
        for queue in [&self.link, &self.control].into_iter().filter_map(OnceLock::get) {
            let _ended = queue.task.clone().changed().await;
        }
    }
}

/// Sends what is queued.
struct Pump {
    inner: Arc<Inner>,
    way: Way,
    window: usize,
    open: Option<Open>,
    /// So many publishes are sent one by one, to find the one that makes the broker close the
    /// channel.
    careful: usize,
    checks: Interval,
    /// How many were answered at the last check, while some were in flight.
    answered: Option<u64>,
}

struct Open {
    channel: Box<dyn PublishChannel>,
    ledger: Arc<Ledger>,
}

impl Pump {
    fn new(inner: Arc<Inner>, way: Way, window: usize) -> Self {
        let mut checks = interval(LATE);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { inner, way, window, open: None, careful: 0, checks, answered: None }
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Entry>) {
        let mut entries = Vec::with_capacity(BATCH);
        loop {
            let room = self.room().await;
            let in_flight = self.in_flight();
            let received = tokio::select! {
                biased;
                received = queue.recv_many(&mut entries, room) => received,
                () = self.inner.closing() => {
                    queue.close();
                    queue.recv_many(&mut entries, room).await
                }
                _now = self.checks.tick(), if in_flight > 0 => {
                    self.check();
                    continue;
                }
            };
            if received == 0 {
                break;
            }
            self.send(&mut entries).await;
        }
        if let Some(mut open) = self.open.take() {
            let patience = self.inner.connection().settings().timeout();
            let _elapsed = tokio::time::timeout(patience, open.ledger.empty()).await;
            open.channel.close().await;
        }
    }

    /// Waits until the window has room, and says how many may be sent together.
    async fn room(&mut self) -> usize {
        let limit = if self.careful > 0 { 1 } else { self.window };
        let Some(open) = &self.open else {
            return limit.min(BATCH);
        };
        let ledger = Arc::clone(&open.ledger);
        loop {
            tokio::select! {
                biased;
                () = ledger.below(limit) => break,
                _now = self.checks.tick() => self.check(),
            }
        }
        if ledger.is_gone() {
            self.drop_open();
            return if self.careful > 0 { 1 } else { BATCH };
        }
        if ledger.in_flight() == 0 {
            self.answered = None;
        }
        (limit - ledger.in_flight().min(limit - 1)).min(BATCH)
    }

    async fn send(&mut self, entries: &mut Vec<Entry>) {
        self.careful = self.careful.saturating_sub(entries.len());
        for _attempt in 0..ATTEMPTS {
            if self.open.is_none() {
                match open(&self.inner, self.way).await {
                    Ok(open) => self.open = Some(open),
                    Err(error) => return fail(entries, &error),
                }
            }
            let Some(open) = &mut self.open else { return };
            if open.channel.send(entries).await.is_ok() {
                return;
            }
            self.drop_open();
            if entries.is_empty() {
                return;
            }
            // What is left was not sent: the channel was gone before.
        }
        fail(entries, &Error::lost("the broker closes every channel that publishes"));
    }

    fn drop_open(&mut self) {
        if let Some(open) = self.open.take() {
            self.careful += open.ledger.suspects();
        }
        self.answered = None;
    }

    fn in_flight(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.ledger.in_flight())
    }

    /// Asks whether the broker is blocked when nothing was answered since the last check.
    fn check(&mut self) {
        let answered = self.open.as_ref().map(|open| open.ledger.answered());
        if answered.is_some() && self.answered == answered {
            self.inner.connection().suspect_block();
        }
        self.answered = answered;
    }
}

async fn open(inner: &Arc<Inner>, way: Way) -> Result<Open> {
    let ledger = Arc::new(Ledger::new());
    let for_channel = Arc::clone(&ledger);
    let channel: Box<dyn PublishChannel> = match way {
        Way::Control => {
            let channel = inner.control().clone();
            Box::new(LapinPublisher::new(channel, for_channel, Ownership::Borrowed).await?)
        }
        Way::Link => inner.connection().publish_link().await?.open(for_channel).await?,
    };
    Ok(Open { channel, ledger })
}

fn fail(entries: &mut Vec<Entry>, error: &Error) {
    for entry in entries.drain(..) {
        entry.confirm.answer(Err(error.duplicate().during("publish")));
    }
}

const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";
/// Messages between `publish` and the task; the window bounds those beyond.
const QUEUE: usize = 64;
/// Messages that are sent together.
const BATCH: usize = 64;
const ATTEMPTS: usize = 3;
/// Confirms later than this may mean that the broker is blocked.
const LATE: Duration = Duration::from_secs(1);
