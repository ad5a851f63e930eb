//! Kombu for Rust in ways that only folders ask for.

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use kombu::Queue;

use crate::case::Contender;
use crate::ours::{self, Style};
use crate::sample::Sample;
use crate::work::Work;

/// Publishes without waiting for the disk.
#[derive(Debug)]
pub(super) struct NotSynced(pub(super) Style);

#[async_trait]
impl Contender for NotSynced {
    fn name(&self) -> &'static str {
        "kombu, not synced"
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let work = Work { url: format!("{}&fsync=false", work.url), ..work.clone() };
        ours::Publisher(self.0).run(&work).await
    }
}

/// One task publishes a few messages and consumes them.
#[derive(Debug)]
pub(super) struct FewAtATime;

#[async_trait]
impl Contender for FewAtATime {
    fn name(&self) -> &'static str {
        ours::ACK
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let producer = connection.producer().await?;
        let queue = Queue::new(work.queue.as_str());
        let mut consumer = connection.consumer(&queue).prefetch(work.prefetch).start().await?;
        let meter = work.meter();
        let mut left = usize::try_from(work.count)?;
        while left > 0 {
            let some = left.min(work.window);
            let batch = (0..some).map(|_| {
                let body = work.body.bytes.to_vec();
                producer.publish_raw(body, "application/json", "utf-8").to("", work.queue.as_str())
            });
            for result in producer.publish_batch(batch).await {
                result?;
            }
            for _ in 0..some {
                let delivery = consumer.next().await.context("the consumer ended")??;
                work.check(&delivery.message().body)?;
                delivery.ack().await?;
            }
            left -= some;
        }
        let sample = meter.stop(work.count);
        consumer.close().await?;
        connection.close().await?;
        Ok(sample)
    }
}
