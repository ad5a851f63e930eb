//! Settling: sends what becomes of delivered messages, many at once where the store is not
//! immediate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kombu_core::transport::{Confirm, ConfirmSender, Outcome, Publish};
use kombu_core::{Error, Result};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::connection::Link;
use crate::dead_letter::Reason;
use crate::lock::lock;
use crate::publish::{targets, unanswered};
use crate::routing::{RouteCache, Targets};
use crate::store::{Claimed, Put, Settlement, Store};
use crate::unsettled::{Held, Spare};

/// Gathers settlements for the connection's settling task.
#[derive(Debug)]
pub(crate) struct Settler<R> {
    /// `None` when the task has ended.
    jobs: Mutex<Option<Vec<Job<R>>>>,
    some: Notify,
    now: Notify,
    stopped: AtomicBool,
    /// How many messages are on their way back to their queues.
    returning: AtomicUsize,
}

/// A settlement on its way.
#[derive(Debug)]
pub(crate) struct Job<R> {
    queue: Arc<str>,
    receipt: Option<R>,
    outcome: Outcome,
    delivered: bool,
    spare: Option<Box<Spare>>,
    answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Nobody,
    One(ConfirmSender),
    /// For the last of several.
    Shared(Arc<Shared>),
}

#[derive(Debug)]
pub(crate) struct Shared {
    left: AtomicUsize,
    result: Mutex<(Option<ConfirmSender>, Option<Error>)>,
}

impl<R> Job<R> {
    pub(crate) fn new(held: Held<R>, outcome: Outcome) -> Self {
        Self {
            queue: held.queue,
            receipt: held.receipt,
            outcome,
            delivered: true,
            spare: held.spare,
            answer: Answer::Nobody,
        }
    }

    /// Is answered, and does nothing.
    fn nothing(answer: ConfirmSender) -> Self {
        Self {
            queue: "".into(),
            receipt: None,
            outcome: Outcome::Ack,
            delivered: true,
            spare: None,
            answer: Answer::One(answer),
        }
    }

    /// Gives back what no consumer saw.
    pub(crate) fn unseen(claimed: Claimed<R>) -> Self {
        let spare = claimed.receipt.is_none().then(|| {
            let publish = Publish::new(claimed.exchange, claimed.routing_key, claimed.message);
            Box::new(Spare { publish, letters: None })
        });
        Self {
            queue: claimed.queue,
            receipt: claimed.receipt,
            outcome: Outcome::Requeue,
            delivered: false,
            spare,
            answer: Answer::Nobody,
        }
    }
}

impl Answer {
    fn give(self, result: Result<()>) {
        match self {
            Self::Nobody => {
                if let Err(error) = result {
                    tracing::warn!(%error, "a message was not settled");
                }
            }
            Self::One(sender) => sender.answer(result),
            Self::Shared(shared) => shared.count(result),
        }
    }
}

impl Shared {
    fn count(&self, result: Result<()>) {
        let mut state = lock(&self.result);
        if let Err(error) = result {
            state.1.get_or_insert(error);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(sender) = state.0.take()
        {
            sender.answer(state.1.take().map_or(Ok(()), Err));
        }
    }
}

/// Makes the answers of several jobs one confirm.
pub(crate) fn confirm_all<R>(jobs: &mut [Job<R>]) -> Confirm {
    let (sender, confirm) = Confirm::pair();
    match jobs {
        [] => sender.answer(Ok(())),
        [job] => job.answer = Answer::One(sender),
        jobs => {
            let shared = Arc::new(Shared {
                left: AtomicUsize::new(jobs.len()),
                result: Mutex::new((Some(sender), None)),
            });
            for job in jobs {
                job.answer = Answer::Shared(Arc::clone(&shared));
            }
        }
    }
    confirm
}

impl<R> Settler<R> {
    pub(crate) fn new() -> Self {
        Self {
            jobs: Mutex::new(Some(Vec::new())),
            some: Notify::new(),
            now: Notify::new(),
            stopped: AtomicBool::new(false),
            returning: AtomicUsize::new(0),
        }
    }

    /// Announces messages that go back, before those who fetch could learn that there is room.
    /// They are pushed before the answer is dropped.
    pub(crate) fn announce_return(&self) -> impl Drop + '_ {
        self.returning.fetch_add(1, Ordering::AcqRel);
        Announced(&self.returning)
    }

    /// Waits until what goes back has arrived, so that it is fetched before what is behind it.
    pub(crate) async fn returned(&self) {
        while self.returning.load(Ordering::Acquire) > 0 && !self.stopped.load(Ordering::Acquire) {
            self.settle_down().await;
        }
    }

    /// Adds settlements. After the end they are dropped, which answers them.
    pub(crate) fn push(&self, mut more: Vec<Job<R>>, most: usize) {
        let mut gathered = lock(&self.jobs);
        let Some(jobs) = gathered.as_mut() else { return };
        self.returning.fetch_add(returns(&more), Ordering::AcqRel);
        let first = jobs.is_empty();
        jobs.append(&mut more);
        let enough = jobs.len() >= most;
        drop(gathered);
        if first {
            self.some.notify_one();
        }
        if enough {
            self.now.notify_one();
        }
    }

    /// Waits until all that was pushed before is answered.
    pub(crate) async fn settle_down(&self) {
        let (sender, done) = Confirm::pair();
        self.push(vec![Job::nothing(sender)], 1);
        let _stopped = done.await;
    }

    /// Sends what is gathered without waiting for more.
    pub(crate) fn flush(&self) {
        if lock(&self.jobs).as_ref().is_some_and(|jobs| !jobs.is_empty()) {
            self.now.notify_one();
        }
    }

    /// What is gathered, if anything is. Once stopped, nothing is gathered any more.
    fn take(&self) -> Option<Vec<Job<R>>> {
        let mut gathered = lock(&self.jobs);
        let jobs = gathered.as_mut().map(std::mem::take).filter(|jobs| !jobs.is_empty());
        if jobs.is_none() && self.stopped.load(Ordering::Acquire) {
            *gathered = None;
        }
        jobs
    }

    /// Ends the task after what it has.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.some.notify_one();
        self.now.notify_one();
    }
}

struct Announced<'a>(&'a AtomicUsize);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Closes the settler even when its task panics, so that nobody waits for it in vain.
struct ClosedByDrop<'a, R>(&'a Settler<R>);

impl<R> Drop for ClosedByDrop<'_, R> {
    fn drop(&mut self) {
        lock(&self.0.jobs).take();
    }
}

fn returns<R>(jobs: &[Job<R>]) -> usize {
    jobs.iter().filter(|job| job.outcome == Outcome::Requeue).count()
}

/// The settling task.
pub(crate) async fn run<S: Store>(link: Arc<Link<S>>) {
    let settler = &link.settler;
    let _closed = ClosedByDrop(settler);
    loop {
        settler.some.notified().await;
        let _went_by = timeout(GATHER, settler.now.notified()).await;
        while let Some(jobs) = settler.take() {
            let returned = returns(&jobs);
            settle(&link, jobs).await;
            settler.returning.fetch_sub(returned, Ordering::AcqRel);
        }
        if lock(&settler.jobs).is_none() {
            return;
        }
    }
}

/// Settles messages; the answers go where the jobs say.
pub(crate) async fn settle<S: Store>(link: &Arc<Link<S>>, mut jobs: Vec<Job<S::Receipt>>) {
    put_again(link, &mut jobs).await;
    let mut settlements = Vec::with_capacity(jobs.len());
    let mut answers = Vec::with_capacity(jobs.len());
    let mut done = Vec::new();
    for job in jobs {
        match job.receipt {
            Some(receipt) if !(job.outcome == Outcome::Ack && link.features.claim_forgets) => {
                let mut settlement = Settlement::new(job.queue, receipt, job.outcome);
                settlement.delivered = job.delivered;
                settlements.push(settlement);
                answers.push(job.answer);
            }
            _ => done.push(job.answer),
        }
    }
    // Put back to the head, the last come first.
    let most = link.features.settle_batch.max(1);
    while !settlements.is_empty() {
        let at = (settlements.len() - 1) / most * most;
        let batch = settlements.split_off(at);
        let batch_answers = answers.split_off(at);
        let mut results = link.store.settle(batch).await.into_iter();
        for answer in batch_answers {
            let result = results.next().unwrap_or_else(|| Err(unanswered("settle")));
            answer.give(result.inspect_err(|error| link.judge(error)));
        }
    }
    for answer in done {
        answer.give(Ok(()));
    }
}

/// Publishes dead letters, and messages that go back without a receipt. One that cannot be
/// published goes back to its queue.
async fn put_again<S: Store>(link: &Arc<Link<S>>, jobs: &mut [Job<S::Receipt>]) {
    let mut puts = Vec::new();
    let mut places = Vec::new();
    let routes = Mutex::new(RouteCache::default());
    for (place, job) in jobs.iter_mut().enumerate() {
        let Some(spare) = job.spare.take() else { continue };
        let put = match (job.outcome, &spare.letters) {
            (Outcome::Reject, Some(letters)) => {
                let letter = letters.letter(&spare.publish, Reason::Rejected);
                targets(link, &routes, &letter)
                    .await
                    .map(|targets| Put::new(targets, Arc::new(letter)))
            }
            (Outcome::Requeue, _) if job.receipt.is_none() => {
                let targets = Arc::new(Targets::queue(Arc::clone(&job.queue)));
                Ok(Put::new(targets, Arc::new(spare.publish)))
            }
            _ => continue,
        };
        match put {
            Ok(put) if put.targets.is_empty() => {}
            Ok(put) => {
                puts.push(put);
                places.push(place);
            }
            // The dead letter exchange is gone: as in AMQP, so is the letter.
            Err(error) => tracing::debug!(%error, queue = &*job.queue, "a dead letter is dropped"),
        }
    }
    if puts.is_empty() {
        return;
    }
    let mut results = link.store.put(puts).await.into_iter();
    for place in places {
        let result = results.next().unwrap_or_else(|| Err(unanswered("put")));
        if let (Err(error), Some(job)) = (result, jobs.get_mut(place)) {
            link.judge(&error);
            std::mem::replace(&mut job.answer, Answer::Nobody).give(Err(error));
            job.outcome = Outcome::Requeue;
        }
    }
}

/// How long settlements are gathered.
const GATHER: Duration = Duration::from_millis(1);
