//! zookeeper-client with the steps of a queue that loses nothing.

use anyhow::{Result, anyhow, ensure};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;
use zookeeper_client::CreateMode;

use super::client::{connect, delete, list, make, node};
use crate::case::Contender;
use crate::redis::envelope;
use crate::sample::Sample;
use crate::work::Work;

/// One node a message, so many at once.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) at_once: usize,
}

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let client = connect(&work.url).await?;
        let path = format!("/{}/entry-009-", work.queue);
        let meter = work.meter();
        stream::iter(0..work.count)
            .map(|_| async {
                let data = envelope::write(&work.queue, &work.body.bytes);
                let sequential = node(CreateMode::PersistentSequential);
                client.create(&path, data.as_bytes(), &sequential).await.map(drop)
            })
            .buffer_unordered(self.at_once)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        Ok(meter.stop(work.count))
    }
}

/// Lists the queue; for each message reads it, takes it out and records it in one transaction, and
/// deletes the record.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let client = connect(&work.url).await?;
        let held = format!("/held-{}", Uuid::new_v4());
        make(&client, &held).await?;
        let meter = work.meter();
        let mut done = 0;
        while done < work.count {
            let names = list(&client, &format!("/{}", work.queue)).await?;
            ensure!(!names.is_empty(), "no message came");
            for name in names {
                let (path, record) = (format!("/{}/{name}", work.queue), format!("{held}/{name}"));
                let (data, _) = client.get_data(&path).await?;
                let mut step = client.new_multi_writer();
                step.add_delete(&path, None)?;
                step.add_create(&record, &data, &node(CreateMode::Persistent))?;
                step.commit().await.map_err(|error| anyhow!(error))?;
                work.check(&envelope::read(&data)?.0)?;
                client.delete(&record, None).await?;
                done += 1;
            }
        }
        let sample = meter.stop(work.count);
        delete(&client, &held).await?;
        Ok(sample)
    }
}

/// What tables call it.
pub(super) const NAME: &str = "raw zookeeper-client";
