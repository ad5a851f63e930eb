//! A connection that work takes turns on, opened when it is first needed.

use std::sync::Mutex as StdMutex;
use std::sync::PoisonError;
use std::time::Duration;

use kombu_core::{Error, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::driver::Driver;
use crate::error::{Class, Failure, failure};
use crate::session::{Output, Session, Sql, Step};

/// What follows from what came of the steps so far; nothing when it is done.
pub(crate) type Then<'a> = dyn Fn(&[Output]) -> Vec<Step> + Send + Sync + 'a;

/// One connection of a driver.
#[derive(Debug)]
pub(crate) struct Lane {
    driver: Driver,
    slot: Mutex<Slot>,
    /// What the server calls the connection.
    number: StdMutex<Option<i64>>,
    /// For how long work is tried again that others are in the way of.
    patience: Duration,
    /// How long a database may take for a piece of work; without one it never fails to answer.
    limit: Option<Duration>,
}

#[derive(Debug, Default)]
struct Slot {
    session: Option<Box<dyn Session>>,
    /// Whether a transaction may be open: its work was dropped half way.
    dirty: bool,
}

impl Lane {
    pub(crate) fn new(driver: Driver, patience: Duration, limit: Option<Duration>) -> Self {
        Self { driver, slot: Mutex::default(), number: StdMutex::default(), patience, limit }
    }

    /// Does all steps, or none: several are a transaction.
    ///
    /// # Errors
    ///
    /// Those of the database; `Timeout` when others were in the way for too long.
    pub(crate) async fn run(&self, steps: &[Step]) -> Result<Vec<Output>, Failure> {
        self.work(steps, None).await
    }

    /// Does one step.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) async fn one(&self, step: Step) -> Result<Output, Failure> {
        Ok(self.work(&[step], None).await?.pop().unwrap_or_default())
    }

    /// Does some steps, and those that follow from what came of them, in one transaction.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub(crate) async fn run_then(
        &self,
        steps: &[Step],
        then: &Then<'_>,
    ) -> Result<Vec<Output>, Failure> {
        self.work(steps, Some(then)).await
    }

    async fn work(&self, steps: &[Step], then: Option<&Then<'_>>) -> Result<Vec<Output>, Failure> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let mut slot = self.slot.lock().await;
            let attempt = slot.attempt(self, steps, then);
            let result = match self.limit {
                None => attempt.await,
                Some(limit) => timeout(limit, attempt).await.unwrap_or_else(|_| {
                    let text = format!("the database did not answer within {limit:?}");
                    Err(Failure { error: Error::lost(text), class: Class::Lasting })
                }),
            };
            if let Err(failed) = &result
                && failed.error.scope() == kombu_core::Scope::Connection
            {
                slot.session = None;
            }
            drop(slot);
            match result {
                Err(failed) if failed.class == Class::Again => {
                    let waited = begun.elapsed();
                    if waited + pause > self.patience {
                        let error = Error::new(
                            ErrorKind::Timeout,
                            format!("others kept the database locked for {waited:.1?}"),
                        );
                        let error = error.caused_by(failed.error);
                        return Err(Failure { error, class: Class::Lasting });
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    /// What the server calls the connection, if it is open.
    pub(crate) fn number(&self) -> Option<i64> {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection; it opens again when it is needed.
    pub(crate) async fn close(&self) {
        let session = self.slot.lock().await.session.take();
        if let Some(session) = session {
            let _nobody_cares = timeout(CLOSE_LIMIT, session.close()).await;
        }
    }
}

impl Slot {
    async fn attempt(
        &mut self,
        lane: &Lane,
        steps: &[Step],
        then: Option<&Then<'_>>,
    ) -> Result<Vec<Output>, Failure> {
        let session = match &mut self.session {
            Some(session) => session,
            slot => {
                let (session, number) = lane.driver.open().await?;
                *lane.number.lock().unwrap_or_else(PoisonError::into_inner) = number;
                self.dirty = false;
                slot.insert(session)
            }
        };
        if self.dirty {
            // There may be none after all, which some databases mind.
            let _none = session.plain(&Sql::from("ROLLBACK")).await;
            self.dirty = false;
        }
        if let (None, [step]) = (then, steps) {
            return Ok(vec![session.step(step).await.map_err(failure)?]);
        }
        self.dirty = true;
        let result = transact(session.as_mut(), lane.driver.begin(), steps, then).await;
        // What failed may be the beginning: then there is nothing to roll back, which is an error.
        if result.is_err() && session.plain(&Sql::from("ROLLBACK")).await.is_err() {
            return result;
        }
        self.dirty = false;
        result
    }
}

async fn transact(
    session: &mut dyn Session,
    begin: &Sql,
    steps: &[Step],
    then: Option<&Then<'_>>,
) -> Result<Vec<Output>, Failure> {
    session.plain(begin).await.map_err(failure)?;
    let mut outputs = Vec::with_capacity(steps.len());
    for step in steps {
        outputs.push(session.step(step).await.map_err(failure)?);
    }
    while let Some(then) = then {
        let next = then(&outputs);
        if next.is_empty() {
            break;
        }
        for step in next {
            outputs.push(session.step(&step).await.map_err(failure)?);
        }
    }
    session.plain(&Sql::from("COMMIT")).await.map_err(failure)?;
    Ok(outputs)
}

/// The first pause before work is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest such pause. Whoever comes seldom finds a busy SQLite file locked again and again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// How long a good-bye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
