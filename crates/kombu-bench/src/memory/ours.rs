//! Kombu for Rust inside the process.

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use kombu::{Connection, Consumer, Producer, Publication, Queue};

use crate::body::Job;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// One task publishes, one consumes.
#[derive(Debug)]
pub(super) struct TwoTasks(pub(super) Style);

/// How it publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A hundred with `publish_batch`.
    Batch,
    /// Each publication awaited.
    Each,
    /// Each awaited, and bodies are values on both sides.
    Typed,
}

#[async_trait]
impl Contender for TwoTasks {
    fn name(&self) -> &'static str {
        match self.0 {
            Style::Batch => "kombu, publish_batch",
            Style::Each => EACH,
            Style::Typed => VALUES,
        }
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let (producer, mut consumer) = ends(&connection, work).await?;
        let style = self.0;
        let meter = work.meter();
        let (does, with) = (work.clone(), producer.clone());
        let producing = tokio::spawn(async move { publish(&with, &does, style).await });
        for _ in 0..work.count {
            receive(&mut consumer, work, style == Style::Typed).await?;
        }
        producing.await??;
        let sample = meter.stop(work.count);
        finish(connection, &producer, consumer, work).await?;
        Ok(sample)
    }
}

/// One task publishes a few and consumes them.
#[derive(Debug)]
pub(super) struct OneTask;

#[async_trait]
impl Contender for OneTask {
    fn name(&self) -> &'static str {
        EACH
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let (producer, mut consumer) = ends(&connection, work).await?;
        let window = u64::try_from(work.window)?;
        let meter = work.meter();
        let mut left = work.count;
        while left > 0 {
            let now = left.min(window);
            for _ in 0..now {
                raw(&producer, work).await?;
            }
            for _ in 0..now {
                receive(&mut consumer, work, false).await?;
            }
            left -= now;
        }
        let sample = meter.stop(work.count);
        finish(connection, &producer, consumer, work).await?;
        Ok(sample)
    }
}

async fn ends(connection: &Connection, work: &Work) -> Result<(Producer, Consumer)> {
    let queue = Queue::new(work.queue.as_str());
    let consumer = connection.consumer(&queue).prefetch(work.prefetch).start().await?;
    Ok((connection.producer().await?, consumer))
}

pub(super) async fn publish(producer: &Producer, work: &Work, style: Style) -> Result<()> {
    let mut left = usize::try_from(work.count)?;
    while left > 0 {
        match style {
            Style::Batch => {
                let size = left.min(work.window);
                let batch: Vec<_> = (0..size).map(|_| raw(producer, work)).collect();
                for result in producer.publish_batch(batch).await {
                    result?;
                }
                left -= size;
            }
            Style::Each => {
                raw(producer, work).await?;
                left -= 1;
            }
            Style::Typed => {
                producer.publish(&work.body.job).to("", work.queue.as_str()).await?;
                left -= 1;
            }
        }
    }
    Ok(())
}

fn raw(producer: &Producer, work: &Work) -> Publication {
    producer
        .publish_raw(Bytes::copy_from_slice(&work.body.bytes), "application/json", "utf-8")
        .to("", work.queue.as_str())
}

async fn receive(consumer: &mut Consumer, work: &Work, typed: bool) -> Result<()> {
    let delivery = consumer.next().await.context("the consumer ended")??;
    if typed {
        let _job: Job = delivery.decode()?;
    } else {
        work.check(&delivery.message().body)?;
    }
    delivery.ack().await?;
    Ok(())
}

/// Closes, and checks that nothing is left.
async fn finish(
    connection: Connection,
    producer: &Producer,
    consumer: Consumer,
    work: &Work,
) -> Result<()> {
    consumer.close().await?;
    let left = producer.channel().size(&work.queue).await?;
    ensure!(left == 0, "{left} messages are left");
    producer.channel().delete_queue(&work.queue).await?;
    connection.close().await?;
    Ok(())
}

/// What tables call the plainest way.
pub(super) const EACH: &str = "kombu";
pub(super) const VALUES: &str = "kombu, values";
