//! fred with Kombu's commands, one after the other.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::Value;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::client::{bytes, connect, number, send};
use super::envelope;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// One `LPUSH` a message, so many at once.
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
        let meter = work.meter();
        stream::iter(0..work.count)
            .map(|_| async {
                let envelope = envelope::write(&work.queue, &work.body.bytes);
                let pushed =
                    send(&client, "LPUSH", vec![work.queue.as_str().into(), envelope.into()]).await;
                ensure!(number(&pushed?)? > 0, "nothing was pushed");
                Ok(())
            })
            .buffer_unordered(self.at_once)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        let sample = meter.stop(work.count);
        client.quit().await?;
        Ok(sample)
    }
}

/// `BRPOP`, then a transaction that records, then one that forgets.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        // What blocks has a connection to itself.
        let (waiting, client) = (connect(&work.url).await?, connect(&work.url).await?);
        let meter = work.meter();
        for _ in 0..work.count {
            let popped =
                send(&waiting, "BRPOP", vec![work.queue.as_str().into(), 1.into()]).await?;
            let popped = popped.into_array().pop().context("no message came")?;
            let envelope = bytes(popped)?;
            let (body, tag) = envelope::read(&envelope)?;
            let record = [b"[", &envelope[..], b", \"\", \"", work.queue.as_bytes(), b"\"]"];
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            let tag = Value::from(tag);
            transaction(
                &client,
                [
                    ("ZADD", vec!["unacked_index".into(), now.into(), tag.clone()]),
                    (
                        "HSET",
                        vec!["unacked".into(), tag.clone(), record.concat().as_slice().into()],
                    ),
                ],
            )
            .await?;
            work.check(&body)?;
            transaction(
                &client,
                [
                    ("ZREM", vec!["unacked_index".into(), tag.clone()]),
                    ("HDEL", vec!["unacked".into(), tag]),
                ],
            )
            .await?;
        }
        let sample = meter.stop(work.count);
        waiting.quit().await?;
        client.quit().await?;
        Ok(sample)
    }
}

/// Two commands as one, in one round trip.
async fn transaction(client: &Client, commands: [(&'static str, Vec<Value>); 2]) -> Result<()> {
    let [first, second] = commands;
    let (begun, one, two, done) = tokio::join!(
        send(client, "MULTI", Vec::new()),
        send(client, first.0, first.1),
        send(client, second.0, second.1),
        send(client, "EXEC", Vec::new()),
    );
    begun?;
    one?;
    two?;
    ensure!(done?.into_array().len() == 2, "the transaction was not done");
    Ok(())
}

/// What tables call it.
pub(super) const NAME: &str = "raw fred";
