//! What the parts of a connection share: its lanes to the database, its holder, its clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result, Scope};
use tokio::sync::watch;

use crate::error::{Class, Failure};
use crate::lane::{Lane, Then};
use crate::options::SqlOptions;
use crate::session::{Arg, Column, Output, Step};
use crate::shared::{Estate, Registry, Shared};
use crate::statements::Statements;

/// The core of a connection.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) statements: Statements,
    pub(crate) options: SqlOptions,
    pub(crate) server: ServerInfo,
    pub(crate) shared: Arc<Shared>,
    pub(crate) lanes: Lanes,
    pub(crate) holder: i64,
    /// The time that stands for the holder.
    pub(crate) stamp: String,
    /// The most bytes of an envelope that the table takes.
    pub(crate) longest: Option<u64>,
    registry: Arc<Registry>,
    identity: String,
    /// The ids of queues, as long as they are there.
    queues: Mutex<HashMap<Arc<str>, i64>>,
    /// The database's clock less this machine's, in milliseconds.
    offset: AtomicI64,
    /// About the size of the last messages that were taken.
    pub(crate) size: AtomicU64,
    pub(crate) consuming: watch::Sender<bool>,
    is_lost: AtomicBool,
    loss: watch::Sender<Option<String>>,
}

/// The connections of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// Stores messages, and all that is seldom done.
    pub(crate) write: Arc<Lane>,
    /// Takes and settles messages.
    pub(crate) claim: Arc<Lane>,
    /// Only reads.
    pub(crate) read: Arc<Lane>,
}

/// What is known when a core is made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) statements: Statements,
    pub(crate) options: SqlOptions,
    pub(crate) server: ServerInfo,
    pub(crate) lanes: Lanes,
    pub(crate) holder: i64,
    pub(crate) stamp: String,
    pub(crate) longest: Option<u64>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) identity: String,
    pub(crate) offset: i64,
}

impl Core {
    pub(crate) fn new(made: Made) -> Self {
        Self {
            shared: made.registry.shared(&made.identity),
            statements: made.statements,
            options: made.options,
            server: made.server,
            lanes: made.lanes,
            holder: made.holder,
            stamp: made.stamp,
            longest: made.longest,
            registry: made.registry,
            identity: made.identity,
            queues: Mutex::default(),
            offset: AtomicI64::new(made.offset),
            size: AtomicU64::new(0),
            consuming: watch::Sender::new(false),
            is_lost: AtomicBool::new(false),
            loss: watch::Sender::new(None),
        }
    }

    /// Does steps on a lane: several are a transaction.
    pub(crate) async fn run(&self, lane: &Lane, steps: &[Step]) -> Result<Vec<Output>, Failure> {
        self.alive()?;
        lane.run(steps).await.map_err(|failure| self.judge(failure))
    }

    /// Does one step on a lane.
    pub(crate) async fn one(&self, lane: &Lane, step: Step) -> Result<Output, Failure> {
        self.alive()?;
        lane.one(step).await.map_err(|failure| self.judge(failure))
    }

    /// Does steps, and those that follow from them, in a transaction.
    pub(crate) async fn run_then(
        &self,
        lane: &Lane,
        steps: &[Step],
        then: &Then<'_>,
    ) -> Result<Vec<Output>, Failure> {
        self.alive()?;
        lane.run_then(steps, then).await.map_err(|failure| self.judge(failure))
    }

    /// The id of a queue that is there.
    pub(crate) async fn find_queue(&self, queue: &str) -> Result<Option<i64>> {
        if let Some(id) = self.queues().get(queue) {
            return Ok(Some(*id));
        }
        let find = &self.statements.find_queue;
        let step = Step::rows(find, vec![queue.into()], &[Column::Int]);
        let found = self.one(&self.lanes.read, step).await?.number();
        if let Some(id) = found {
            self.queues().insert(queue.into(), id);
        }
        Ok(found)
    }

    /// The id of a queue, which is made if it is not there.
    pub(crate) async fn make_queue(&self, queue: &str) -> Result<i64> {
        check_name(queue)?;
        if let Some(id) = self.find_queue(queue).await? {
            return Ok(id);
        }
        let name = || vec![Arg::from(queue)];
        let add = Step::new(&self.statements.add_queue, name());
        let find = Step::rows(&self.statements.find_queue, name(), &[Column::Int]);
        let outputs = self.run(&self.lanes.write, &[add, find]).await?;
        let id = outputs.last().and_then(Output::number).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "a queue that was stored is not there")
                .with("queue", queue)
        })?;
        self.queues().insert(queue.into(), id);
        Ok(id)
    }

    /// Forgets the ids of queues: somebody deleted one.
    pub(crate) fn forget_queues(&self) {
        self.queues().clear();
    }

    pub(crate) fn forget_queue(&self, queue: &str) {
        self.queues().remove(queue);
    }

    /// The database's time, in milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        local_time() + self.offset.load(Ordering::Relaxed)
    }

    /// Asks the database for its time: one round trip.
    pub(crate) async fn ask_clock(&self) -> Result<()> {
        let step = Step::rows(&self.statements.clock, Vec::new(), &[Column::Int]);
        let time = self.one(&self.lanes.read, step).await?.number().unwrap_or_default();
        self.offset.store(offset(time), Ordering::Relaxed);
        Ok(())
    }

    /// Until when the holder lives without a sign of life.
    pub(crate) fn lease_end(&self) -> i64 {
        let timeout = i64::try_from(self.options.visibility_timeout.as_millis());
        self.now().saturating_add(timeout.unwrap_or(i64::MAX))
    }

    /// Fails when the connection is lost.
    fn alive(&self) -> Result<(), Failure> {
        match &*self.loss.borrow() {
            None => Ok(()),
            Some(reason) => {
                Err(Failure { error: Error::lost(reason.clone()), class: Class::Lasting })
            }
        }
    }

    fn judge(&self, failure: Failure) -> Failure {
        if failure.error.scope() == Scope::Connection {
            self.lose(failure.error.to_string());
        }
        failure
    }

    /// Gives the connection up. What it holds is for the next one to give back.
    pub(crate) fn lose(&self, reason: String) -> Error {
        if !self.is_lost.swap(true, Ordering::AcqRel) {
            let lanes = [&self.lanes.write, &self.lanes.claim, &self.lanes.read];
            let mut numbers: Vec<_> = lanes.iter().filter_map(|lane| lane.number()).collect();
            numbers.dedup();
            self.registry.bequeath(&self.identity, Estate { holder: self.holder, numbers });
            self.loss.send_replace(Some(reason.clone()));
        }
        Error::lost(reason)
    }

    /// Waits until the connection is lost. Cancel safe.
    pub(crate) async fn lost(&self) -> Error {
        let mut loss = self.loss.subscribe();
        match loss.wait_for(Option::is_some).await {
            Ok(reason) => Error::lost(reason.clone().unwrap_or_default()),
            Err(_) => Error::closed("connection"),
        }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Arc<str>, i64>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that Kombu's table can hold the name of a queue.
pub(crate) fn check_name(queue: &str) -> Result<()> {
    if queue.chars().count() <= LONGEST_NAME && !queue.contains('\0') {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the names of queues have at most {LONGEST_NAME} characters, and no NUL"),
    ))
}

/// This machine's time, in milliseconds since 1970.
pub(crate) fn local_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How far a database's clock is ahead; one in this process, which answers nought, is not.
pub(crate) fn offset(time: i64) -> i64 {
    if time == 0 { 0 } else { time - local_time() }
}

/// As Kombu's column has it.
const LONGEST_NAME: usize = 200;
