//! One connection's view of the queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, ExchangeType, Queue, Result};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Put, Settlement, Store, StoreFeatures, Topology, Want,
};
use mongodb::Collection;
use mongodb::bson::{RawDocumentBuf, doc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::broadcast;
use crate::claim;
use crate::core::Core;
use crate::error;
use crate::queues;
use crate::record;
use crate::returns::{Which, give_back};
use crate::settle::{self, Receipt};
use crate::topology::MongodbTopology;
use crate::watch;

#[derive(Debug)]
pub(crate) struct MongodbStore {
    core: Arc<Core>,
    topology: MongodbTopology,
    /// Whether there was a consumer yet.
    consumes: AtomicBool,
}

impl MongodbStore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let topology = MongodbTopology::new(Arc::clone(&core));
        Self { core, topology, consumes: AtomicBool::new(false) }
    }

    /// Looks once at all queues of a claim.
    async fn take(&self, wants: &[Want], now: bool) -> Result<Vec<Claimed<Receipt>>> {
        let taken = join_all(wants.iter().map(|want| claim::take(&self.core, want, now))).await;
        let mut claimed = Vec::new();
        let mut failure = None;
        for result in taken {
            match result {
                Ok(mut some) => claimed.append(&mut some),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            // What was taken must not get lost; the next look fails again.
            Some(error) if claimed.is_empty() => Err(error),
            _ => Ok(claimed),
        }
    }

    /// The document of a message for each of its queues, or for all of its exchange.
    async fn documents(&self, put: &Put) -> Result<Documents> {
        let core = &self.core;
        let encoding = core.options.layer.body_encoding;
        let mut documents = Documents::default();
        for queue in &put.targets.queues {
            let expiry = self.topology.queues.expiry(core, queue, put).await?;
            let id = core.shared.ids.next(&core.clock);
            let document = record::message(id, put, queue, expiry, encoding)?;
            documents.messages.push(self.not_too_large(document)?);
        }
        for exchange in &put.targets.exchanges {
            let id = core.shared.ids.next(&core.clock);
            let document = record::broadcast(id, put, exchange, encoding)?;
            documents.broadcasts.push(self.not_too_large(document)?);
        }
        Ok(documents)
    }

    fn not_too_large(&self, document: RawDocumentBuf) -> Result<RawDocumentBuf> {
        let (size, largest) = (document.as_bytes().len(), self.core.server.largest);
        if size <= largest {
            return Ok(document);
        }
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("the message takes {size} bytes, and a document has at most {largest}"),
        ))
    }

    /// Inserts documents, and says which ones failed.
    async fn insert(
        &self,
        collection: &Collection<RawDocumentBuf>,
        documents: Vec<RawDocumentBuf>,
    ) -> Failures {
        if documents.is_empty() {
            return Failures::None;
        }
        let collection = collection.clone();
        let inserted = self
            .core
            .call(async move {
                match collection.insert_many(documents).ordered(false).await {
                    Ok(_) => Ok(Failures::None),
                    Err(error) => match error::failed_places(&error) {
                        Some(failed) => Ok(Failures::Some(failed)),
                        None => Err(error),
                    },
                }
            })
            .await;
        inserted.unwrap_or_else(Failures::All)
    }
}

#[async_trait]
impl Store for MongodbStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "mongodb"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.lease = Some(self.core.options.visibility_timeout);
        features.maintenance = Some(self.core.options.look_interval());
        // Each batch is found, taken and settled as a list of ids.
        features.claim_batch = 100;
        features.settle_batch = 250;
        features.longest_wait = Duration::from_secs(30);
        features.native_exchanges = &[ExchangeType::Fanout];
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        self.core.server.info.clone()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        match self.topology.queues.declare(&self.core, queue).await {
            // A server that takes no writes for now need not be told again.
            Err(error) if error.kind() == ErrorKind::Blocked => {
                if self.queue_exists(queue.name()).await? { Ok(()) } else { Err(error) }
            }
            told => told,
        }
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        self.topology.queues.exists(&self.core, queue).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        let in_process = self.core.fan_queue(queue).map_or(0, |letters| letters.clear());
        Ok(in_process + queues::delete_messages(&self.core, queue).await?)
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let in_process = self.core.fan_queue(queue).map_or(0, |letters| letters.clear());
        let (messages, filter) = (self.core.messages.clone(), doc! { "queue": queue });
        let deleted = self.core.call(async move { messages.delete_many(filter).await }).await?;
        Ok(in_process + deleted.deleted_count)
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        if !self.core.options.calc_queue_size {
            return Ok(0);
        }
        let mut in_process = 0;
        if let Some(letters) = self.core.fan_queue(queue) {
            broadcast::catch_up(&self.core, &letters).await?;
            in_process = letters.len();
        }
        let now = self.core.clock.now();
        let filter = doc! { "queue": queue, "expire_at": { "$not": { "$lte": now } } };
        let messages = self.core.messages.clone();
        let count = self.core.call(async move { messages.count_documents(filter).await }).await?;
        Ok(in_process + count)
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        if self.core.server.tells_of_changes && !self.consumes.swap(true, Ordering::AcqRel) {
            self.core.spawn(watch::run(Arc::clone(&self.core)));
        }
        self.topology.queues.begin(&self.core, queue).await
    }

    async fn end_consuming(&self, queue: &str) {
        let _gone_with_the_link = self.topology.queues.end(&self.core, queue).await;
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let mut answers: Vec<Result<()>> = Vec::with_capacity(batch.len());
        let (mut messages, mut broadcasts) = (Vec::new(), Vec::new());
        let (mut of_messages, mut of_broadcasts) = (Vec::new(), Vec::new());
        for (at, put) in batch.iter().enumerate() {
            match self.documents(put).await {
                Ok(mut documents) => {
                    of_messages.resize(of_messages.len() + documents.messages.len(), at);
                    messages.append(&mut documents.messages);
                    of_broadcasts.resize(of_broadcasts.len() + documents.broadcasts.len(), at);
                    broadcasts.append(&mut documents.broadcasts);
                    answers.push(Ok(()));
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        let some_broadcast = !broadcasts.is_empty();
        let (stored, told) = tokio::join!(
            self.insert(&self.core.messages, messages),
            self.insert(&self.core.broadcast, broadcasts)
        );
        stored.note(&of_messages, &mut answers);
        told.note(&of_broadcasts, &mut answers);
        let mut queues: Vec<_> = batch.iter().flat_map(|put| &put.targets.queues).collect();
        queues.sort_unstable();
        queues.dedup();
        for queue in queues {
            self.core.hub.waiters.wake_queue(queue);
        }
        if some_broadcast {
            self.core.hub.beat();
        }
        answers
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let deadline = Instant::now() + claim.wait;
        let queues: Vec<_> = claim.wants.iter().map(|want| Arc::clone(&want.queue)).collect();
        // Before the first look, so that no change is missed.
        let place = core.hub.waiters.enter(queues);
        let mut pause = FIRST_PAUSE;
        loop {
            for want in claim.wants {
                self.topology.queues.renew(core, &want.queue).await?;
            }
            let claimed = self.take(claim.wants, claim.wait.is_zero()).await?;
            if !claimed.is_empty() || claim.wait.is_zero() {
                return Ok(claimed);
            }
            let longest = match core.hears.load(Ordering::Acquire) {
                true => LONGEST_PAUSE_OF_WHO_HEARS,
                false => LONGEST_PAUSE,
            };
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                () = sleep_until(deadline) => return Ok(claimed),
                () = place.changed() => pause = FIRST_PAUSE,
                () = sleep(pause.min(longest)) => pause = (pause * 2).min(longest),
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        settle::settle(&self.core, &batch).await
    }

    async fn renew(&self, receipts: Vec<Receipt>) -> Result<()> {
        settle::renew(&self.core, &receipts).await
    }

    async fn maintain(&self, _interrupt: &Interrupt) -> Result<()> {
        let core = &self.core;
        self.topology.queues.renew_all(core).await?;
        for owner in core.shared.estates.owners() {
            give_back(core, &Which::OwnedBy(owner), true).await?;
        }
        let moved = give_back(core, &Which::Abandoned, true).await?;
        if moved > 0 {
            tracing::info!(moved, "abandoned messages went back to their queues");
        }
        self.topology.queues.sweep(core).await
    }

    async fn ping(&self) -> Result<()> {
        self.core.ping().await
    }

    async fn lost(&self) -> Error {
        self.core.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.core.close().await;
        Ok(())
    }
}

/// What a message becomes.
#[derive(Debug, Default)]
struct Documents {
    messages: Vec<RawDocumentBuf>,
    broadcasts: Vec<RawDocumentBuf>,
}

/// Which documents were not inserted.
#[derive(Debug)]
enum Failures {
    None,
    Some(Vec<(usize, Error)>),
    All(Error),
}

impl Failures {
    /// Notes the failures in the answers; `of` says whose each document is.
    fn note(self, of: &[usize], answers: &mut [Result<()>]) {
        let mut fail = |at: usize, error: Error| {
            if let Some(answer) = answers.get_mut(at) {
                *answer = Err(error);
            }
        };
        match self {
            Self::None => {}
            Self::Some(failed) => {
                for (place, error) in failed {
                    of.get(place).into_iter().for_each(|at| fail(*at, error.duplicate()));
                }
            }
            Self::All(error) => of.iter().for_each(|at| fail(*at, error.duplicate())),
        }
    }
}

/// The first pause between two looks at queues that have nothing; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause where the server tells of what comes, for what it may have missed.
const LONGEST_PAUSE_OF_WHO_HEARS: Duration = Duration::from_secs(5);
