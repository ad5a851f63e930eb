//! Stores messages.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Put;
use kombu_virtual::envelope::{self, Stamp};

use crate::call::Argument;
use crate::link::Link;
use crate::message;
use crate::records;
use crate::shared::{Held, Left};
use crate::store::PyroStore;

impl PyroStore {
    /// Stores published messages, in order. A queue that is missing is made, as Kombu does.
    pub(crate) async fn publish_all(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let mut parcels = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        // How many parcels each message has.
        let mut counts = Vec::with_capacity(batch.len());
        for put in &batch {
            let (copies, answer) = match self.pack(put) {
                Ok(copies) => (copies, Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            };
            counts.push(copies.len());
            answers.push(answer);
            parcels.extend(copies);
        }
        let mut stored = self.link.put_all(&parcels, Missing::IsMade).await.into_iter();
        for (answer, count) in answers.iter_mut().zip(counts) {
            for one in stored.by_ref().take(count) {
                if answer.is_ok() {
                    *answer = one;
                }
            }
        }
        answers
    }

    /// The copies of a message, all of which can be sent.
    fn pack(&self, put: &Put) -> Result<Vec<Held>> {
        let tag = envelope::new_tag();
        let stamp = Stamp::new(&tag).body_encoding(self.layer.body_encoding);
        let data = envelope::encode(&put.publish, &stamp)?;
        message::check(&data)?;
        let data = Bytes::from(data);
        let pack = |queue: &Arc<str>| {
            records::check_queue(queue)?;
            self.link.has_room(queue, &data)?;
            Ok(Held { queue: Arc::clone(queue), data: data.clone() })
        };
        put.targets.queues.iter().map(pack).collect()
    }

    /// Puts back what earlier links to this broker held.
    pub(crate) async fn put_back(&self) -> Result<()> {
        let (shared, address) = (self.link.shared(), self.link.address());
        if shared.left(address).is_empty() {
            return Ok(());
        }
        let _one_at_a_time = shared.returning.lock().await;
        let left = shared.left(address);
        let parcels: Vec<_> = left
            .iter()
            .map(|Left { held, .. }| Held {
                queue: Arc::clone(&held.queue),
                data: message::mark_redelivered(&held.data),
            })
            .collect();
        let answers = self.link.put_all(&parcels, Missing::IsMade).await;
        let mut result = Ok(());
        for (Left { number, held }, answer) in left.into_iter().zip(answers) {
            match answer {
                Ok(()) => shared.returned(address, number),
                Err(error) if error.scope() == kombu_core::Scope::Connection => {
                    result = Err(error);
                }
                Err(error) => {
                    tracing::error!(%error, queue = &*held.queue, "a message does not go back");
                }
            }
        }
        result
    }
}

/// What becomes of messages for a queue that there is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Missing {
    IsMade,
    /// As in AMQP, what was taken out of a queue goes with it.
    TakesThemAlong,
}

impl Link {
    /// Stores messages, in order; as many at a time as there is room for.
    pub(crate) async fn put_all(&self, parcels: &[Held], missing: Missing) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(parcels.len());
        let mut rest = parcels;
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take(PART).take_while(|parcel| {
                let before = bytes;
                bytes += parcel.data.len();
                before < MOST_BYTES
            });
            let (now, later) = rest.split_at(count.count());
            answers.extend(self.put_part(now, missing).await);
            rest = later;
        }
        if !answers.is_empty() {
            self.shared().arrivals.send_replace(());
        }
        answers
    }

    async fn put_part(&self, parcels: &[Held], missing: Missing) -> Vec<Result<()>> {
        let first = self.put_once(parcels).await;
        let absent: Vec<_> = first
            .iter()
            .zip(parcels)
            .filter(|(answer, _)| matches!(answer, Ok(Stored::NoQueue)))
            .map(|(_, parcel)| parcel.clone())
            .collect();
        let mut again = Vec::new();
        if missing == Missing::IsMade && !absent.is_empty() {
            let queues: BTreeSet<_> = absent.iter().map(|parcel| &parcel.queue).collect();
            let made: Vec<_> = queues.into_iter().map(|queue| self.make_queue(queue)).collect();
            // Sent before anything is waited for, so that nothing comes between.
            let repeated = self.put_once(&absent);
            let (made, repeated) = tokio::join!(join_all(made), repeated);
            again = match made.into_iter().find_map(Result::err) {
                Some(error) => absent.iter().map(|_| Err(error.duplicate())).collect(),
                None => repeated,
            };
        }
        let mut again = again.into_iter();
        let mut settle = |answer| match answer {
            Ok(Stored::Yes) => Ok(()),
            Ok(Stored::NoQueue) => match (missing, again.next()) {
                (Missing::TakesThemAlong, _) | (_, Some(Ok(Stored::Yes))) => Ok(()),
                (_, Some(Err(error))) => Err(error),
                _ => Err(Error::new(ErrorKind::NotFound, "somebody deletes the queue")),
            },
            Err(error) => Err(error),
        };
        first.into_iter().map(&mut settle).collect()
    }

    /// Sends messages, which is done before this returns, and waits for the answers.
    fn put_once(&self, parcels: &[Held]) -> impl Future<Output = Vec<Result<Stored>>> + Send {
        let calls: Vec<_> = parcels
            .iter()
            .map(|Held { queue, data }| {
                let sent = self.call("put", &[Argument::Text(queue), Argument::Json(data)]);
                let queue = Arc::clone(queue);
                async move {
                    match sent.await? {
                        Ok(_) => Ok(Stored::Yes),
                        Err(refusal) if refusal.is_missing() => Ok(Stored::NoQueue),
                        Err(refusal) => Err(refusal.into_error().with("queue", queue)),
                    }
                }
            })
            .collect();
        join_all(calls)
    }

    /// Makes a queue; one that exists is no error. The request is queued before this returns.
    pub(crate) fn make_queue(
        &self,
        queue: &str,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let sent = self.call("new_queue", &[Argument::Text(queue)]);
        async move {
            match sent.await? {
                Ok(_) => Ok(()),
                Err(refusal) => Err(refusal.into_error()),
            }
        }
    }
}

enum Stored {
    Yes,
    NoQueue,
}

/// How many messages are sent before their answers are waited for, and about how many bytes.
const PART: usize = 500;
const MOST_BYTES: usize = 4 << 20;
