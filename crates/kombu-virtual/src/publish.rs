//! Publishing: routes messages and puts them, many at once where the store is not immediate.

use std::sync::{Arc, Mutex};

use kombu_core::transport::{Confirm, ConfirmSender, Publish};
use kombu_core::{Error, ErrorKind, Queue, Result};
use tokio::sync::{mpsc, oneshot};

use crate::connection::Link;
use crate::lock::lock;
use crate::routing::{RouteCache, Targets, look_up};
use crate::store::{Put, Store};

/// The way to the connection's publishing task.
#[derive(Debug)]
pub(crate) struct Publisher {
    jobs: mpsc::Sender<Job>,
    inbox: Mutex<Option<mpsc::Receiver<Job>>>,
    stopped: crate::interrupt::Interrupt,
}

enum Job {
    Publish(Arc<Publish>, ConfirmSender),
    /// Answered when all before it is done.
    Barrier(oneshot::Sender<()>),
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = mpsc::channel(IN_FLIGHT);
        Self { jobs, inbox: Mutex::new(Some(inbox)), stopped: crate::interrupt::Interrupt::new() }
    }

    /// Takes a message; waits while too many are on their way.
    pub(crate) async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm> {
        let (answer, confirm) = Confirm::pair();
        match self.jobs.send(Job::Publish(publish, answer)).await {
            Ok(()) => Ok(confirm),
            Err(_) => Err(Error::closed("connection")),
        }
    }

    /// Waits until all that was published before is answered.
    pub(crate) async fn settle_down(&self) {
        let (answer, done) = oneshot::channel();
        if self.jobs.send(Job::Barrier(answer)).await.is_ok() {
            let _stopped = done.await;
        }
    }

    /// Ends the task after what it has.
    pub(crate) fn stop(&self) {
        self.stopped.fire();
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Publish(..) => "Publish",
            Self::Barrier(_) => "Barrier",
        })
    }
}

/// The publishing task: what gathers while one batch is on its way is the next batch.
pub(crate) async fn run<S: Store>(link: Arc<Link<S>>) {
    let Some(mut inbox) = lock(&link.publisher.inbox).take() else { return };
    let mut routes = Mutex::new(RouteCache::default());
    let mut jobs = Vec::new();
    let most = link.features.put_batch.max(1);
    let stopped = link.publisher.stopped.fired();
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            biased;
            count = inbox.recv_many(&mut jobs, most) => if count == 0 { break },
            () = &mut stopped, if !inbox.is_closed() => inbox.close(),
        }
        send(&link, &mut routes, &mut jobs).await;
    }
}

async fn send<S: Store>(link: &Arc<Link<S>>, routes: &mut Mutex<RouteCache>, jobs: &mut Vec<Job>) {
    let mut puts = Vec::with_capacity(jobs.len());
    let mut answers = Vec::with_capacity(jobs.len());
    let mut barriers = Vec::new();
    for job in jobs.drain(..) {
        match job {
            Job::Barrier(answer) => barriers.push(answer),
            Job::Publish(publish, answer) => match targets(link, routes, &publish).await {
                Ok(targets) if targets.is_empty() => answer.answer(Ok(())),
                Ok(targets) => {
                    puts.push(Put::new(targets, publish));
                    answers.push(answer);
                }
                Err(error) => {
                    link.judge(&error);
                    answer.answer(Err(error));
                }
            },
        }
    }
    if !puts.is_empty() {
        let mut results = link.store.put(puts).await.into_iter();
        for answer in answers {
            let result = results.next().unwrap_or_else(|| Err(unanswered("put")));
            answer.answer(result.inspect_err(|error| link.judge(error)));
        }
    }
    for barrier in barriers {
        let _nobody_waits = barrier.send(());
    }
}

/// Where a message goes; nowhere is an error only if the publisher wants to know.
pub(crate) async fn targets<S: Store>(
    link: &Arc<Link<S>>,
    routes: &Mutex<RouteCache>,
    publish: &Publish,
) -> Result<Arc<Targets>> {
    link.refuse.publish(publish)?;
    let topology = link.store.topology();
    let known = lock(routes).find(topology, publish);
    let targets = match known {
        Some(targets) => targets,
        None => {
            let (targets, version) = look_up(topology, link.rules(), publish).await?;
            if let Some(version) = version {
                lock(routes).learn(version, publish, &targets);
            }
            targets
        }
    };
    let missing = publish.mandatory
        && publish.exchange.is_empty()
        && link.features.implicit_queues
        && !link.store.queue_exists(&publish.routing_key).await?;
    if !missing && !targets.is_empty() {
        return Ok(targets);
    }
    if let Some(queue) = &link.options.deadletter_queue {
        let queue = Queue::new(queue.as_str());
        crate::declare::make_queue(link, &queue).await?;
        return Ok(Arc::new(Targets::queue(queue.name())));
    }
    if publish.mandatory {
        return Err(Error::new(ErrorKind::Unroutable, "no queue takes the message")
            .with("exchange", format!("{:?}", publish.exchange))
            .with("routing_key", format!("{:?}", publish.routing_key)));
    }
    Ok(targets)
}

pub(crate) fn unanswered(call: &'static str) -> Error {
    Error::new(ErrorKind::Protocol, format!("the store gave fewer answers than asked in {call}"))
}

/// The most messages that wait for the task.
const IN_FLIGHT: usize = 4096;
