//! fred with the scripts of the transport, called by hand.

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::Value;

use super::client::{bytes, connect, expect, send};
use super::envelope;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// One `LPUSH` for many messages.
#[derive(Debug)]
pub(super) struct Publisher;

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let client = connect(&work.url).await?;
        let meter = work.meter();
        let mut sent = 0;
        while sent < work.count {
            let some = (work.count - sent).min(u64::try_from(work.window)?);
            let mut arguments = vec![work.queue.as_str().into()];
            arguments
                .extend((0..some).map(|_| envelope::write(&work.queue, &work.body.bytes).into()));
            sent += some;
            expect(&send(&client, "LPUSH", arguments).await?, sent)?;
        }
        let sample = meter.stop(work.count);
        client.quit().await?;
        Ok(sample)
    }
}

/// Takes as many as the prefetch allows in one script, and acknowledges them in another.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let client = connect(&work.url).await?;
        let (claim, forget) = (load(&client, CLAIM).await?, load(&client, FORGET).await?);
        let meter = work.meter();
        let mut received = 0;
        while received < work.count {
            let mut taken = take(&client, work, &claim).await?.into_iter();
            let score = bytes(taken.next().context("no time")?)?;
            let (seconds, micros) =
                std::str::from_utf8(&score)?.split_once('.').context("no time")?;
            let mut score = seconds.parse::<u64>()? * 1_000_000 + micros.parse::<u64>()?;
            let mut done = vec![forget.clone(), 2.into(), "unacked".into(), "unacked_index".into()];
            // The place of the queue, the step, the tag, the message.
            while let (Some(_), Some(_), Some(tag), Some(message)) =
                (taken.next(), taken.next(), taken.next(), taken.next())
            {
                let (body, _) = envelope::read(&bytes(message)?)?;
                work.check(&body)?;
                let text = format!("{}.{:06}", score / 1_000_000, score % 1_000_000);
                done.extend([tag, text.into()]);
                score += 1;
                received += 1;
            }
            ensure!(done.len() > 4, "no message came");
            let lost = send(&client, "EVALSHA", done).await?;
            ensure!(lost.into_array().is_empty(), "some were not acknowledged");
        }
        let sample = meter.stop(work.count);
        client.quit().await?;
        Ok(sample)
    }
}

async fn take(client: &Client, work: &Work, claim: &Value) -> Result<Vec<Value>> {
    let steps: [&[u8]; 4] = [b"", b"\x06\x163", b"\x06\x166", b"\x06\x169"];
    let mut arguments: Vec<Value> = vec![
        claim.clone(),
        7.into(),
        "unacked".into(),
        "unacked_index".into(),
        "_kombu.claim.bench.0".into(),
    ];
    let list = |step: &&[u8]| Value::Bytes(Bytes::from([work.queue.as_bytes(), step].concat()));
    arguments.extend(steps.iter().map(list));
    // Steps, bytes, watch, seconds of the log, a fresh tag; then limit, no_ack, the record's end.
    arguments.extend([4.into(), (4 << 20).into(), 0.into(), 7200.into(), "fresh".into()]);
    let tail = format!(", \"\", \"{}\"]", work.queue);
    arguments.extend([i64::from(work.prefetch).into(), 0.into(), tail.into()]);
    Ok(send(client, "EVALSHA", arguments).await?.into_array())
}

async fn load(client: &Client, script: &str) -> Result<Value> {
    send(client, "SCRIPT", vec!["LOAD".into(), script.into()]).await
}

/// What tables call it.
pub(super) const NAME: &str = "raw fred, by hand";

const CLAIM: &str = include_str!("../../../kombu-transport-redis/src/lua/claim.lua");
const FORGET: &str = include_str!("../../../kombu-transport-redis/src/lua/forget.lua");
