//! Kombu for Rust, on any broker.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kombu::{Connection, Producer, Publication, Queue};

use crate::body::Job;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// Publishes with confirms in a window, from one task.
#[derive(Debug)]
pub(crate) struct Publisher(pub(crate) Style);

/// How the window is held.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// A batch as large as the window, then the next.
    Batch,
    /// Publications awaited together.
    Futures,
    /// Each awaited before the next.
    InTurn,
    /// Confirms held in a queue.
    Submit,
    /// As `Submit`, with a value that is serialized each time.
    Typed,
}

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        match self.0 {
            Style::Batch => BATCH,
            Style::Futures => FUTURES,
            Style::InTurn => ACK,
            Style::Submit => SUBMIT,
            Style::Typed => SUBMIT_VALUES,
        }
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let producer = connection.producer().await?;
        producer.open().await?;
        let meter = work.meter();
        match self.0 {
            Style::Batch => batches(&producer, work).await?,
            Style::Futures => {
                stream::iter(0..work.count)
                    .map(|_| raw(&producer, work).into_future())
                    .buffer_unordered(work.window)
                    .try_for_each(|()| async { Ok(()) })
                    .await?;
            }
            Style::InTurn => {
                for _ in 0..work.count {
                    raw(&producer, work).await?;
                }
            }
            Style::Submit => submit(work, || raw(&producer, work)).await?,
            Style::Typed => {
                submit(work, || producer.publish(&work.body.job).to("", &work.queue)).await?;
            }
        }
        let sample = meter.stop(work.count);
        connection.close().await?;
        Ok(sample)
    }
}

fn raw(producer: &Producer, work: &Work) -> Publication {
    producer
        .publish_raw(work.body.bytes.to_vec(), "application/json", "utf-8")
        .to("", work.queue.as_str())
}

async fn submit(work: &Work, publication: impl Fn() -> Publication) -> Result<()> {
    let mut window = VecDeque::with_capacity(work.window);
    for _ in 0..work.count {
        if window.len() == work.window
            && let Some(confirm) = window.pop_front()
        {
            confirm.await?;
        }
        window.push_back(publication().submit().await?);
    }
    for confirm in window {
        confirm.await?;
    }
    Ok(())
}

async fn batches(producer: &Producer, work: &Work) -> Result<()> {
    let mut left = usize::try_from(work.count)?;
    while left > 0 {
        let size = left.min(work.window);
        let batch: Vec<_> = (0..size).map(|_| raw(producer, work)).collect();
        for result in producer.publish_batch(batch).await {
            result?;
        }
        left -= size;
    }
    Ok(())
}

/// Consumes and acknowledges each delivery.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Whether bodies are read into a value.
    pub(crate) decode: bool,
}

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        if self.decode { ACK_VALUES } else { ACK }
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let meter = work.meter();
        consume(&connection, work, self.decode).await?;
        let sample = meter.stop(work.count);
        connection.close().await?;
        Ok(sample)
    }
}

async fn consume(connection: &Connection, work: &Work, decode: bool) -> Result<()> {
    let queue = Queue::new(work.queue.as_str());
    let mut consumer = connection.consumer(&queue).prefetch(work.prefetch).start().await?;
    for _ in 0..work.count {
        let delivery = consumer.next().await.context("the consumer ended")??;
        if decode {
            let _job: Job = delivery.decode()?;
        }
        work.check(&delivery.message().body)?;
        delivery.ack().await?;
    }
    consumer.close().await?;
    Ok(())
}

/// Publishes one message at a time and receives it.
#[derive(Debug)]
pub(crate) struct RoundTrip;

#[async_trait]
impl Contender for RoundTrip {
    fn name(&self) -> &'static str {
        ACK
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let producer = connection.producer().await?;
        producer.open().await?;
        let queue = Queue::new(work.queue.as_str());
        let mut consumer = connection.consumer(&queue).prefetch(work.prefetch).start().await?;
        let mut latencies = Vec::new();
        let meter = work.meter();
        for _ in 0..work.count {
            let sent = Instant::now();
            let confirm = raw(&producer, work).submit().await?;
            let delivery = consumer.next().await.context("the consumer ended")??;
            latencies.push(sent.elapsed());
            delivery.ack().await?;
            confirm.await?;
        }
        let sample = Sample { latencies, ..meter.stop(work.count) };
        consumer.close().await?;
        connection.close().await?;
        Ok(sample)
    }
}

/// Publishes in a process whose memory is measured.
pub(crate) async fn publish_as_resident(work: &Work) -> Result<()> {
    let connection = kombu::connect(work.url.as_str()).await?;
    let producer = connection.producer().await?;
    submit(work, || raw(&producer, work)).await?;
    connection.close().await?;
    Ok(())
}

/// Consumes in a process whose memory is measured.
pub(crate) async fn consume_as_resident(work: &Work) -> Result<()> {
    let connection = kombu::connect(work.url.as_str()).await?;
    consume(&connection, work, false).await?;
    connection.close().await?;
    Ok(())
}

/// What tables call the plainest ways.
pub(crate) const BATCH: &str = "kombu, publish_batch";
pub(crate) const FUTURES: &str = "kombu, futures";
pub(crate) const SUBMIT: &str = "kombu, submit";
pub(crate) const SUBMIT_VALUES: &str = "kombu, submit, values";
pub(crate) const ACK: &str = "kombu";
pub(crate) const ACK_VALUES: &str = "kombu, values";
