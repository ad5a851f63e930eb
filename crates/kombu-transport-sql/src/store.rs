//! One connection's view of the queues.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Queue, Result};
use kombu_virtual::{Claim, Claimed, Interrupt, Put, Settlement, Store, StoreFeatures, Topology};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::core::Core;
use crate::dialect::Dialect;
use crate::error::{Class, Failure};
use crate::listen::Listener;
use crate::put;
use crate::session::{Column, Step};
use crate::settle;
use crate::take::{self, Receipt};
use crate::topology::SqlTopology;
use crate::upkeep;

#[derive(Debug)]
pub(crate) struct SqlStore {
    core: Arc<Core>,
    topology: SqlTopology,
    listener: Listener,
    /// The time between two signs of life that are asked of a server.
    heartbeat: Duration,
    last_sign: tokio::sync::Mutex<Instant>,
}

impl SqlStore {
    pub(crate) fn new(core: Arc<Core>, listener: Listener, heartbeat: Duration) -> Self {
        Self {
            topology: SqlTopology::new(Arc::clone(&core)),
            core,
            listener,
            heartbeat,
            last_sign: tokio::sync::Mutex::new(Instant::now()),
        }
    }

    /// The longest pause between two looks for what other processes have stored.
    fn longest_pause(&self) -> Duration {
        self.core.options.layer.polling_interval.unwrap_or(match self.core.statements.dialect {
            Dialect::Sqlite => Duration::from_millis(50),
            Dialect::MariaDb | Dialect::MySql => Duration::from_millis(100),
            // Rust tells; only Python does not.
            Dialect::Postgres => Duration::from_millis(500),
        })
    }

    async fn upkeep(&self) -> Result<()> {
        let mut last_sign = self.last_sign.lock().await;
        if last_sign.elapsed() >= upkeep::interval(&self.core) {
            upkeep::stay_alive(&self.core).await?;
            *last_sign = Instant::now();
        }
        drop(last_sign);
        upkeep::clean(&self.core).await
    }
}

#[async_trait]
impl Store for SqlStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "sql"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.maintenance = Some(Duration::ZERO);
        features.longest_wait = Duration::from_secs(10);
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        self.core.server.clone()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        // Whatever is remembered: somebody may have deleted it.
        self.core.forget_queue(queue.name());
        self.core.make_queue(queue.name()).await.map(drop)
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        self.core.forget_queue(queue);
        Ok(self.core.find_queue(queue).await?.is_some())
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        let core = &self.core;
        core.forget_queue(queue);
        let Some(id) = core.find_queue(queue).await? else { return Ok(0) };
        upkeep::drop_expired(core).await?;
        let statements = &core.statements;
        let steps = [
            &statements.purge_waiting,
            &statements.purge_held,
            &statements.purge_ranks,
            &statements.remove_queue,
        ]
        .map(|sql| Step::new(sql, vec![id.into()]));
        let mut tries = 0;
        let outputs = loop {
            match core.run(&core.lanes.write, &steps).await {
                // Somebody stored a message meanwhile.
                Err(Failure { class: Class::Reference, .. }) if tries < DELETIONS => tries += 1,
                done => break done?,
            }
        };
        core.forget_queue(queue);
        Ok(outputs.first().map_or(0, |output| output.affected))
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let core = &self.core;
        let Some(id) = core.find_queue(queue).await? else { return Ok(0) };
        upkeep::drop_expired(core).await?;
        let steps = [&core.statements.purge_waiting, &core.statements.purge_settled]
            .map(|sql| Step::new(sql, vec![id.into()]));
        let outputs = core.run(&core.lanes.write, &steps).await?;
        Ok(outputs.first().map_or(0, |output| output.affected))
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        let core = &self.core;
        core.forget_queue(queue);
        let Some(id) = core.find_queue(queue).await? else {
            return Err(Error::new(ErrorKind::NotFound, format!("no queue {queue:?}")));
        };
        let args = vec![id.into(), core.now().into()];
        let step = Step::rows(&core.statements.size, args, &[Column::Int]);
        let size = core.one(&core.lanes.read, step).await?.number().unwrap_or_default();
        Ok(u64::try_from(size).unwrap_or_default())
    }

    async fn begin_consuming(&self, _: &str) -> Result<()> {
        self.core.consuming.send_replace(true);
        Ok(())
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        put::put(&self.core, &self.topology, &batch).await
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let deadline = Instant::now() + claim.wait;
        let queues = claim.wants.iter().map(|want| Arc::clone(&want.queue)).collect();
        let place = core.shared.waiters.enter(queues);
        let longest = self.longest_pause();
        let mut pause = FIRST_PAUSE.min(longest);
        loop {
            let claimed = take::take(core, claim.wants).await?;
            if !claimed.is_empty() || claim.interrupt.is_fired() || Instant::now() >= deadline {
                return Ok(claimed);
            }
            loop {
                tokio::select! {
                    () = place.changed() => break,
                    () = claim.interrupt.fired() => return Ok(Vec::new()),
                    () = sleep_until(deadline.min(Instant::now() + pause)) => {}
                }
                if Instant::now() >= deadline {
                    return Ok(Vec::new());
                }
                // What nobody told of: looking takes no lock.
                if take::is_ready(core, claim.wants).await? {
                    break;
                }
                pause = (pause * 2).min(longest);
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let settled = settle::settle(&self.core, &batch).await;
        let answer = || settled.as_ref().copied().map_err(Error::duplicate);
        batch.iter().map(|_| answer()).collect()
    }

    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        let done = self.upkeep().await;
        let wait = sleep(upkeep::interval(&self.core));
        tokio::select! {
            () = wait => {}
            () = interrupt.fired() => {}
            () = self.listener.listen(&self.core) => {}
        }
        done
    }

    async fn ping(&self) -> Result<()> {
        self.core.ask_clock().await
    }

    async fn lost(&self) -> Error {
        let core = &self.core;
        if core.statements.dialect == Dialect::Sqlite || self.heartbeat.is_zero() {
            return core.lost().await;
        }
        loop {
            tokio::select! {
                lost = core.lost() => return lost,
                () = sleep(self.heartbeat) => {}
            }
            match timeout(self.heartbeat, core.ask_clock()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.scope() == kombu_core::Scope::Connection => return error,
                Ok(Err(error)) => tracing::warn!(%error, "the database has no time"),
                Err(_) => {
                    let heartbeat = self.heartbeat;
                    return core.lose(format!("the database did not answer for {heartbeat:?}"));
                }
            }
        }
    }

    async fn close(&self) -> Result<()> {
        let core = &self.core;
        // Nothing is held any more; what a late claim brought goes back.
        let done = upkeep::give_back(core, core.holder).await.map(drop);
        self.listener.close().await;
        if core.statements.dialect != Dialect::Sqlite {
            let lanes = &core.lanes;
            tokio::join!(lanes.write.close(), lanes.claim.close(), lanes.read.close());
        }
        done
    }
}

/// The first pause of a claim that waits; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// How often deleting a queue is tried that others store messages in.
const DELETIONS: u32 = 10;
