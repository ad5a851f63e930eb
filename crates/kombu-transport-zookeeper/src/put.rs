//! Stores messages: as children of their queues.

use std::sync::Arc;

use futures_util::future::join_all;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Put;
use kombu_virtual::envelope::{self, Stamp};
use zookeeper_client::{CreateMode, Error as Zk};

use crate::error::error;
use crate::layout::{self, LARGEST};
use crate::store::ZooKeeperStore;

/// A message for some queues.
struct Parcel {
    data: Arc<[u8]>,
    /// The queues, and what their nodes' names begin with.
    places: Vec<(Arc<str>, String)>,
}

impl ZooKeeperStore {
    /// Stores messages, in order.
    pub(crate) async fn put_all(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let mut parcels = Vec::with_capacity(batch.len());
        for put in &batch {
            parcels.push(self.pack(put).await);
        }
        let mut answers = self.send(&parcels).await;
        // Somebody has deleted a queue; for the default exchange it is made again.
        let again: Vec<_> = answers
            .iter()
            .zip(&batch)
            .map(|(answer, put)| match answer {
                Err(error) if error.kind() == ErrorKind::NotFound => Some(put),
                _ => None,
            })
            .collect();
        if again.iter().any(Option::is_some) {
            let mut parcels = Vec::with_capacity(batch.len());
            for put in &again {
                parcels.push(match put {
                    Some(put) => {
                        put.targets.queues.iter().for_each(|queue| self.core.forget_queue(queue));
                        self.pack(put).await
                    }
                    None => Ok(Parcel { data: Arc::new([]), places: Vec::new() }),
                });
            }
            let repeated = self.send(&parcels).await;
            for ((answer, put), repeated) in answers.iter_mut().zip(&again).zip(repeated) {
                if put.is_some() {
                    *answer = repeated;
                }
            }
        }
        answers
    }

    async fn pack(&self, put: &Put) -> Result<Parcel> {
        let tag = envelope::new_tag();
        let stamp = Stamp::new(&tag).body_encoding(self.core.layer.body_encoding);
        let data = envelope::encode(&put.publish, &stamp)?;
        if data.len() > LARGEST {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the message has {} bytes with its envelope; ZooKeeper takes {LARGEST}",
                    data.len()
                ),
            ));
        }
        let priority = put.publish.message.properties.priority;
        let mut places = Vec::with_capacity(put.targets.queues.len());
        for queue in &put.targets.queues {
            let path = layout::queue(queue)?;
            self.core.ensure_queue(queue, &path).await?;
            places.push((Arc::clone(queue), layout::entry_prefix(&path, priority)));
        }
        Ok(Parcel { data: data.into_bytes().into(), places })
    }

    /// Sends messages all at once; the server takes them in order. One for several queues comes
    /// into all of them or none, if one packet holds it so often.
    async fn send(&self, parcels: &[Result<Parcel>]) -> Vec<Result<()>> {
        if let Err(lost) = self.core.alive() {
            return parcels.iter().map(|_| Err(lost.duplicate())).collect();
        }
        let steps: Vec<_> = parcels
            .iter()
            .map(|parcel| match parcel {
                Ok(parcel) => Ok(self.store(parcel)),
                Err(error) => Err(error.duplicate()),
            })
            .map(|step| async move { step?.await })
            .collect();
        join_all(steps).await
    }

    /// The request is sent before this returns.
    fn store<'a>(&'a self, parcel: &'a Parcel) -> impl Future<Output = Result<()>> + use<'a> {
        let core = &self.core;
        let node = core.access.node(CreateMode::PersistentSequential);
        let at_once = (LARGEST / parcel.data.len().max(1)).max(1);
        let mut single = None;
        let mut multiple = Vec::new();
        if let [(_, place)] = parcel.places.as_slice() {
            single = Some(core.client.create(place, &parcel.data, &node));
        } else {
            for part in parcel.places.chunks(at_once) {
                let mut step = core.client.new_multi_writer();
                let added = part
                    .iter()
                    .try_for_each(|(_, place)| step.add_create(place, &parcel.data, &node));
                multiple.push(added.map(|()| step.commit()));
            }
        }
        async move {
            if let Some(single) = single {
                return core.call(single).await.map(drop);
            }
            for step in multiple {
                let step = step.map_err(error)?;
                core.call(async { step.await.map_err(Zk::from) }).await?;
            }
            Ok(())
        }
    }
}
