//! lapin, without anything around it.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, PublisherConfirm};

use super::stage::{connect, persistent, publish};
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// Publishes with confirms in a window.
#[derive(Clone, Copy, Debug)]
pub(super) enum Publisher {
    /// Awaits each publish, then holds its confirm: the obvious loop.
    InTurn,
    /// Polls the window's publishes and confirms together.
    Together,
}

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        match self {
            Self::InTurn => "raw lapin, in turn",
            Self::Together => "raw lapin, together",
        }
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let meter = work.meter();
        match self {
            Self::InTurn => in_turn(&channel, work).await?,
            Self::Together => {
                stream::iter(0..work.count)
                    .map(|_| publish(&channel, &work.queue, &work.body.bytes))
                    .buffer_unordered(work.window)
                    .try_for_each(|()| async { Ok(()) })
                    .await?;
            }
        }
        let sample = meter.stop(work.count);
        connection.close(200, "done".into()).await?;
        Ok(sample)
    }
}

async fn in_turn(channel: &Channel, work: &Work) -> Result<()> {
    let mut window = VecDeque::with_capacity(work.window);
    for _ in 0..work.count {
        if window.len() == work.window {
            confirmed(window.pop_front()).await?;
        }
        let options = BasicPublishOptions::default();
        let body = &work.body.bytes;
        let queue = work.queue.as_str().into();
        let published = channel.basic_publish("".into(), queue, options, body, persistent());
        window.push_back(published.await?);
    }
    while !window.is_empty() {
        confirmed(window.pop_front()).await?;
    }
    Ok(())
}

async fn confirmed(confirm: Option<PublisherConfirm>) -> Result<()> {
    let confirmation = confirm.context("the window is empty")?.await?;
    ensure!(confirmation.is_ack(), "the broker refused a message");
    Ok(())
}

/// Consumes and acknowledges each delivery.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        "raw lapin"
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        let meter = work.meter();
        channel.basic_qos(work.prefetch, BasicQosOptions::default()).await?;
        let mut consumer = subscribe(&channel, work).await?;
        for _ in 0..work.count {
            let delivery = consumer.next().await.context("the consumer ended")??;
            work.check(&delivery.data)?;
            delivery.ack(BasicAckOptions::default()).await?;
        }
        channel.close(200, "done".into()).await?;
        let sample = meter.stop(work.count);
        connection.close(200, "done".into()).await?;
        Ok(sample)
    }
}

/// Publishes one message at a time and receives it.
#[derive(Debug)]
pub(super) struct RoundTrip;

#[async_trait]
impl Contender for RoundTrip {
    fn name(&self) -> &'static str {
        "raw lapin"
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut consumer = subscribe(&channel, work).await?;
        let mut latencies = Vec::new();
        let meter = work.meter();
        for _ in 0..work.count {
            let sent = Instant::now();
            let options = BasicPublishOptions::default();
            let body = &work.body.bytes;
            let queue = work.queue.as_str().into();
            let published = channel.basic_publish("".into(), queue, options, body, persistent());
            let confirm = published.await?;
            let delivery = consumer.next().await.context("the consumer ended")??;
            latencies.push(sent.elapsed());
            delivery.ack(BasicAckOptions::default()).await?;
            confirmed(Some(confirm)).await?;
        }
        let sample = Sample { latencies, ..meter.stop(work.count) };
        channel.close(200, "done".into()).await?;
        connection.close(200, "done".into()).await?;
        Ok(sample)
    }
}

async fn subscribe(channel: &Channel, work: &Work) -> Result<lapin::Consumer> {
    let (queue, tag) = (work.queue.as_str().into(), "bench".into());
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(queue, tag, options, FieldTable::default()).await?)
}
