//! Queues as documents: that they are there, their arguments, and when they go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use kombu_core::{Queue, Result, Table, Value};
use kombu_virtual::{Put, expiry};
use mongodb::bson::{Bson, DateTime, Document, doc};
use tokio::time::Instant;

use crate::core::Core;
use crate::record::{self, Expiry};

/// The queues that one connection has to do with.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long messages live in a queue, and when that was learned.
    lives: HashMap<Arc<str>, (Option<Duration>, Instant)>,
    /// Queues that expire and are consumed from here.
    used: HashMap<Arc<str>, Used>,
    /// Queues with messages that may expire.
    expiring: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Used {
    after: Duration,
    renewed: Option<Instant>,
}

impl Queues {
    /// Notes a queue with its arguments, as Kombu does where queues expire.
    pub(crate) async fn declare(&self, core: &Core, queue: &Queue) -> Result<()> {
        let expires = expiry::of_queue(queue);
        // Who declares it may be slow to use it.
        let expire_at = expires.map(|after| core.clock.after(after.max(GRACE)));
        let document = doc! {
            "options": {
                "durable": queue.is_durable(),
                "exclusive": queue.is_exclusive(),
                "auto_delete": queue.is_auto_delete(),
                "arguments": table(queue.arguments()),
                "nowait": false,
            },
            "expire_at": expire_at,
        };
        {
            let life = expiry::of_queue_messages(queue);
            let mut state = self.lock();
            state.lives.insert(queue.name().into(), (life, Instant::now()));
            if life.is_some() {
                state.expiring.insert(queue.name().into());
            }
        }
        let queues = core.queues.clone();
        let filter = doc! { "_id": queue.name() };
        let update = doc! { "$set": document };
        core.call(async move { queues.update_one(filter, update).upsert(true).await })
            .await
            .map(drop)
    }

    /// Whether a queue is there: declared here, bound, or with messages. One whose time is over
    /// goes now.
    pub(crate) async fn exists(&self, core: &Core, queue: &str) -> Result<bool> {
        if let Some(document) = find(core, queue).await? {
            return Ok(!remove_if_expired(core, &document).await?);
        }
        let routing = core.routing.clone();
        let filter = doc! { "queue": queue };
        if core.call(async move { routing.find_one(filter).await }).await?.is_some() {
            return Ok(true);
        }
        let messages = core.messages.clone();
        let filter = doc! { "queue": queue };
        Ok(core.call(async move { messages.find_one(filter).await }).await?.is_some())
    }

    /// Says that a queue is consumed from here.
    pub(crate) async fn begin(&self, core: &Core, queue: &str) -> Result<()> {
        let document = find(core, queue).await?;
        let after = document.as_ref().and_then(|document| argument(document, "x-expires"));
        if let Some(after) = after {
            self.lock().used.insert(queue.into(), Used { after, renewed: None });
            self.renew(core, queue).await?;
        }
        Ok(())
    }

    /// Says that it is not any more.
    pub(crate) async fn end(&self, core: &Core, queue: &str) -> Result<()> {
        let used = self.lock().used.remove(queue);
        match used {
            Some(used) => set_end(core, queue, used.after).await,
            None => Ok(()),
        }
    }

    /// Lets a queue live on that is consumed from here, if it is time to.
    pub(crate) async fn renew(&self, core: &Core, queue: &str) -> Result<()> {
        let after = {
            let mut state = self.lock();
            let Some(used) = state.used.get_mut(queue) else { return Ok(()) };
            // A consumer may be slow to say that it is there.
            let after = used.after.max(GRACE);
            let now = Instant::now();
            if used.renewed.is_some_and(|last| now - last < after / 3) {
                return Ok(());
            }
            used.renewed = Some(now);
            after
        };
        set_end(core, queue, after).await
    }

    /// Lets all queues that are consumed from here live on.
    pub(crate) async fn renew_all(&self, core: &Core) -> Result<()> {
        let used: Vec<_> = self.lock().used.keys().cloned().collect();
        join_all(used.iter().map(|queue| self.renew(core, queue))).await.into_iter().collect()
    }

    /// When a message expires in a queue: by its own time or by the queue's, whichever is first.
    pub(crate) async fn expiry(&self, core: &Core, queue: &Arc<str>, put: &Put) -> Result<Expiry> {
        let own = expiry::of_message(&put.publish.message.properties)?;
        let life = match (own, self.life(core, queue).await?) {
            (Some(own), Some(all)) => Some(own.min(all)),
            (own, all) => own.or(all),
        };
        Ok(match life {
            Some(life) => {
                self.lock().expiring.insert(Arc::clone(queue));
                Expiry::At(core.clock.after(life))
            }
            None if core.options.ttl => Expiry::NeverSaid,
            None => Expiry::Never,
        })
    }

    /// How long messages live in a queue.
    async fn life(&self, core: &Core, queue: &Arc<str>) -> Result<Option<Duration>> {
        if let Some((life, since)) = self.lock().lives.get(queue)
            && since.elapsed() < KNOWN
        {
            return Ok(*life);
        }
        let document = find(core, queue).await?;
        let life = document.as_ref().and_then(|document| argument(document, "x-message-ttl"));
        let mut state = self.lock();
        state.lives.retain(|_, (_, since)| since.elapsed() < KNOWN);
        state.lives.insert(Arc::clone(queue), (life, Instant::now()));
        Ok(life)
    }

    /// Deletes what has expired: messages of queues known here, and queues.
    pub(crate) async fn sweep(&self, core: &Core) -> Result<()> {
        let expiring: Vec<_> = self.lock().expiring.iter().cloned().collect();
        for queue in expiring {
            let messages = core.messages.clone();
            let filter = doc! { "queue": &*queue, "expire_at": { "$lte": core.clock.now() } };
            core.call(async move { messages.delete_many(filter).await }).await?;
        }
        let queues = core.queues.clone();
        let filter = doc! { "expire_at": { "$lte": core.clock.now() } };
        let over = core
            .call(async move {
                let mut cursor = queues.find(filter).await?;
                let mut over = Vec::new();
                while cursor.advance().await? {
                    over.push(cursor.deserialize_current()?);
                }
                Ok(over)
            })
            .await?;
        for document in over {
            remove_if_expired(core, &document).await?;
        }
        Ok(())
    }

    pub(crate) fn forget(&self, queue: &str) {
        let mut state = self.lock();
        state.lives.remove(queue);
        state.used.remove(queue);
        state.expiring.remove(queue);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deletes the messages of a queue, those that are held included, and says how many waited.
pub(crate) async fn delete_messages(core: &Core, queue: &str) -> Result<u64> {
    let held = record::held(doc! { "claim.queue": queue });
    let messages = core.messages.clone();
    core.call(async move { messages.delete_many(held).await }).await?;
    let (messages, waiting) = (core.messages.clone(), doc! { "queue": queue });
    let deleted = core.call(async move { messages.delete_many(waiting).await }).await?;
    let document = doc! { "_id": queue };
    let queues = core.queues.clone();
    core.call(async move { queues.delete_one(document).await }).await?;
    Ok(deleted.deleted_count)
}

/// Deletes the bindings of a queue.
pub(crate) async fn delete_bindings(core: &Core, queue: &str) -> Result<()> {
    let (routing, filter) = (core.routing.clone(), doc! { "queue": queue });
    core.call(async move { routing.delete_many(filter).await }).await.map(drop)
}

/// Removes a queue whose time is over, unless somebody used it meanwhile.
async fn remove_if_expired(core: &Core, document: &Document) -> Result<bool> {
    let (Ok(name), Ok(end)) = (document.get_str("_id"), document.get_datetime("expire_at")) else {
        return Ok(false);
    };
    if *end > core.clock.now() {
        return Ok(false);
    }
    let (queues, filter) = (core.queues.clone(), doc! { "_id": name, "expire_at": *end });
    let deleted = core.call(async move { queues.delete_one(filter).await }).await?;
    if deleted.deleted_count == 0 {
        return Ok(false);
    }
    delete_bindings(core, name).await?;
    delete_messages(core, name).await?;
    Ok(true)
}

/// Sets when a queue goes if nobody uses it.
async fn set_end(core: &Core, queue: &str, after: Duration) -> Result<()> {
    let end = doc! { "$set": { "expire_at": core.clock.after(after) } };
    let (queues, filter, update) = (core.queues.clone(), doc! { "_id": queue }, end.clone());
    core.call(async move { queues.update_one(filter, update).await }).await?;
    let (routing, filter) = (core.routing.clone(), doc! { "queue": queue });
    core.call(async move { routing.update_many(filter, end).await }).await.map(drop)
}

async fn find(core: &Core, queue: &str) -> Result<Option<Document>> {
    let (queues, filter) = (core.queues.clone(), doc! { "_id": queue });
    core.call(async move { queues.find_one(filter).await }).await
}

/// An argument of a queue that is a time in milliseconds.
fn argument(document: &Document, name: &str) -> Option<Duration> {
    let options = document.get_document("options").ok()?;
    let millis = match options.get_document("arguments").ok()?.get(name)? {
        Bson::Int32(millis) => i64::from(*millis),
        Bson::Int64(millis) => *millis,
        _ => return None,
    };
    u64::try_from(millis).ok().map(Duration::from_millis)
}

fn table(table: &Table) -> Document {
    table.iter().map(|(name, value)| (name.to_owned(), bson(value))).collect()
}

fn bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        Value::UInt(number) => number.to_string().into(),
        Value::Float(number) => (*number).into(),
        Value::Decimal(text) | Value::Text(text) | Value::Tagged(_, text) => text.as_str().into(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        Value::Timestamp(seconds) => DateTime::from_millis(seconds.saturating_mul(1000)).into(),
        Value::List(values) => Bson::Array(values.iter().map(bson).collect()),
        Value::Table(values) => table(values).into(),
        _ => Bson::Null,
    }
}

/// How long a queue that expires is there at least after its declaration, and while it has a
/// consumer.
const GRACE: Duration = Duration::from_secs(5);

/// How long what is known of a queue is believed.
const KNOWN: Duration = Duration::from_secs(5);
