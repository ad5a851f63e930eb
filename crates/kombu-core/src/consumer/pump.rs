//! The task behind a consumer: subscribes, and subscribes again when channel or link break.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ConsumerBuilder;
use crate::channel::{Channel, FIRST_PAUSE, LONGEST_PAUSE, declare_queue};
use crate::connection::{Lease, lock};
use crate::entity::Queue;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Batch, Consume, ConsumerTag, Notice, Sink, sink};
use crate::value::Table;

/// How many batches may wait for the consumer before a transport has to wait.
const BATCHES: usize = 64;

/// A consumer that subscribed: its receiving ends.
pub(super) struct Started {
    pub(super) deliveries: mpsc::Receiver<Batch>,
    pub(super) current: Arc<Mutex<Current>>,
    pub(super) failure: Arc<Mutex<Option<Error>>>,
    /// Resolves when the pump has ended: nothing more comes, whoever may still hold a sink.
    pub(super) ended: oneshot::Receiver<()>,
    /// Asks the pump to end the subscription; it answers when nothing more comes.
    pub(super) cancel: mpsc::Sender<oneshot::Sender<()>>,
}

/// The channel that the consumer receives through now.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) epoch: u64,
    pub(super) lease: Arc<Lease>,
    /// The queues' names, as the broker chose them where it was asked to.
    pub(super) queues: Vec<Arc<str>>,
    /// The consumers whose deliveries are settled already.
    pub(super) no_ack: Vec<ConsumerTag>,
}

struct Pump {
    channel: Channel,
    queues: Vec<Queue>,
    prefetch: u16,
    no_ack: bool,
    exclusive: bool,
    arguments: Table,
    tag_prefix: String,
    sink: Sink,
    timeout: Duration,
    current: Arc<Mutex<Current>>,
    failure: Arc<Mutex<Option<Error>>>,
    /// Dropped with the pump.
    _alive: oneshot::Sender<()>,
}

/// Subscribes, and leaves a task behind that keeps the subscription alive.
pub(super) async fn start(builder: ConsumerBuilder) -> Result<Started> {
    let timeout = builder.channel.shared().settings.operation_timeout;
    let deadline = Instant::now() + timeout;
    let (sink, inbox) = sink(BATCHES);
    let (alive, ended) = oneshot::channel();
    let lease = builder.channel.lease(deadline).await.map_err(|error| error.during("consume"))?;
    let current = Current { epoch: 0, lease, queues: Vec::new(), no_ack: Vec::new() };
    let mut pump = Pump {
        channel: builder.channel,
        queues: builder.queues,
        prefetch: builder.prefetch,
        no_ack: builder.no_ack,
        exclusive: builder.exclusive,
        arguments: builder.arguments,
        tag_prefix: builder.tag_prefix.unwrap_or_else(|| "kombu-".to_owned()),
        sink,
        timeout,
        current: Arc::new(Mutex::new(current)),
        failure: Arc::default(),
        _alive: alive,
    };
    let mut pause = FIRST_PAUSE;
    while let Err(error) = pump.subscribe(deadline).await {
        if error.kind() != ErrorKind::ConnectionLost || Instant::now() + pause >= deadline {
            return Err(error);
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    let (cancel, requests) = mpsc::channel(1);
    let started = Started {
        deliveries: inbox.deliveries,
        current: Arc::clone(&pump.current),
        failure: Arc::clone(&pump.failure),
        ended,
        cancel,
    };
    tokio::spawn(pump.run(inbox.notices, requests));
    Ok(started)
}

type Requests = mpsc::Receiver<oneshot::Sender<()>>;

impl Pump {
    async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>, mut requests: Requests) {
        let mut pause = FIRST_PAUSE;
        let mut subscribed = Instant::now();
        loop {
            let lease = Arc::clone(&lock(&self.current).lease);
            let lost = tokio::select! {
                error = lease.raw.lost() => {
                    lease.bury();
                    Some(error)
                }
                Some(notice) = notices.recv() => self.restore(&lease, notice).await,
                request = requests.recv() => {
                    self.cancel_all(&lease).await;
                    self.end(request);
                    return;
                }
            };
            let Some(error) = lost else { continue };
            tracing::debug!(%error, "consumer's channel lost, subscribing again");
            drop(lease);
            // A channel that breaks again and again is not opened in a hot loop.
            pause = if subscribed.elapsed() > LONGEST_PAUSE {
                FIRST_PAUSE
            } else {
                (pause * 2).min(LONGEST_PAUSE)
            };
            match self.resubscribe(pause, &mut requests).await {
                Resubscribed::Yes => subscribed = Instant::now(),
                Resubscribed::Ended(request) => {
                    self.end(request);
                    return;
                }
                Resubscribed::GaveUp(error) => {
                    // That this side closed the connection is the end, not a failure.
                    if error.kind() != ErrorKind::Closed {
                        *lock(&self.failure) = Some(error.during("consume"));
                    }
                    return;
                }
            }
        }
    }

    /// Subscribes to all queues on the channel as it is now, or as it is opened.
    async fn subscribe(&mut self, deadline: Instant) -> Result<()> {
        let lease = self.channel.lease(deadline).await.map_err(|error| error.during("consume"))?;
        self.sink = self.sink.next_epoch();
        {
            let mut current = lock(&self.current);
            current.epoch = self.sink.epoch();
            current.lease = Arc::clone(&lease);
            current.queues = self.queues.iter().map(|queue| Arc::from(queue.name())).collect();
            current.no_ack.clear();
        }
        for index in 0..self.queues.len() {
            let subscribed = timeout_at(deadline, self.subscribe_one(&lease, index))
                .await
                .map_err(|_| self.channel.shared().timed_out("consume"))
                .flatten();
            if let Err(error) = subscribed {
                // The channel may be half subscribed: nobody is to receive through it.
                lease.bury();
                return Err(error.during("consume").with("queue", self.queues[index].name()));
            }
        }
        Ok(())
    }

    async fn subscribe_one(&self, lease: &Lease, index: usize) -> Result<()> {
        let queue = &self.queues[index];
        let mut name = Arc::from(queue.name());
        let topology = &self.channel.shared().topology;
        if queue.is_declared() && (queue.name().is_empty() || !topology.has_queue(queue)) {
            let info = declare_queue(Arc::clone(&lease.raw), queue).await?;
            topology.remember(queue);
            name = Arc::from(info.name);
        }
        let tag = ConsumerTag::new(format!("{}{index}", self.tag_prefix));
        let no_ack = self.no_ack || queue.is_no_ack();
        let mut consume = Consume::new(Arc::clone(&name), tag.clone(), self.sink.clone());
        consume.no_ack = no_ack;
        consume.exclusive = self.exclusive;
        consume.prefetch = self.prefetch;
        consume.arguments = queue.consumer_arguments().clone();
        consume.arguments.extend(self.arguments.clone());
        {
            let mut current = lock(&self.current);
            current.queues[index] = name;
            if no_ack && !current.no_ack.contains(&tag) {
                current.no_ack.push(tag);
            }
        }
        lease.raw.consume(consume).await
    }

    /// The broker ended one consumer: its queue was deleted, or moved. Declares and subscribes
    /// again on the same channel.
    async fn restore(&mut self, lease: &Lease, notice: Notice) -> Option<Error> {
        if notice.epoch != self.sink.epoch() {
            return None;
        }
        tracing::warn!(tag = %notice.tag, reason = %notice.reason, "consumer cancelled by the broker");
        let index = notice.tag.as_str().strip_prefix(self.tag_prefix.as_str())?;
        let index = index.parse::<usize>().ok()?;
        let queue = self.queues.get(index)?;
        self.channel.shared().topology.remove_queue(queue.name());
        match timeout(self.timeout, self.subscribe_one(lease, index)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.with("cancelled", notice.reason)),
            Err(_elapsed) => Some(self.channel.shared().timed_out("consume")),
        }
    }

    /// Subscribes on a new channel, for as long as it takes while the failure may pass.
    async fn resubscribe(&mut self, mut pause: Duration, requests: &mut Requests) -> Resubscribed {
        let old = Arc::clone(&lock(&self.current).lease);
        if !old.is_dead() {
            // A living channel is given up: what it holds goes back now.
            old.bury();
            let _link_failed = timeout(self.timeout, old.raw.close()).await;
        }
        drop(old);
        let mut refused_since = None;
        loop {
            tokio::select! {
                request = requests.recv() => return Resubscribed::Ended(request),
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
            let deadline = Instant::now() + self.timeout;
            let error = tokio::select! {
                request = requests.recv() => return Resubscribed::Ended(request),
                subscribed = self.subscribe(deadline) => match subscribed {
                    Ok(()) => return Resubscribed::Yes,
                    Err(error) => error,
                },
            };
            tracing::debug!(%error, "cannot subscribe yet");
            if is_final(&error) {
                return Resubscribed::GaveUp(error);
            }
            if error.is_recoverable() {
                refused_since = None;
            } else if refused_since.get_or_insert_with(Instant::now).elapsed() > self.timeout {
                return Resubscribed::GaveUp(error);
            }
        }
    }

    async fn cancel_all(&self, lease: &Lease) {
        for index in 0..self.queues.len() {
            let tag = ConsumerTag::new(format!("{}{index}", self.tag_prefix));
            match timeout(self.timeout, lease.raw.cancel(&tag)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, %tag, "cancel failed"),
                Err(_elapsed) => tracing::debug!(%tag, "cancel timed out"),
            }
        }
    }

    fn end(self, request: Option<oneshot::Sender<()>>) {
        let topology = &self.channel.shared().topology;
        for queue in self.queues.iter().filter(|queue| queue.is_auto_delete()) {
            topology.remove_queue(queue.name());
        }
        drop(self);
        if let Some(request) = request {
            let _nobody_waits = request.send(());
        }
    }
}

enum Resubscribed {
    Ended(Option<oneshot::Sender<()>>),
    GaveUp(Error),
    Yes,
}

/// Whether an error cannot pass by waiting. What the broker refuses for now (a queue whose node is
/// starting, one that a dead connection still holds) is tried for one operation timeout.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AccessRefused
            | ErrorKind::Closed
            | ErrorKind::InvalidArgument
            | ErrorKind::PreconditionFailed
            | ErrorKind::Unsupported
    )
}
