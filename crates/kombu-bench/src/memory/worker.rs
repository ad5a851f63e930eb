//! Kombu for Rust inside the process, with a worker where others have the bare stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use kombu::Queue;
use kombu::worker::{Job, Worker};
use tokio::sync::Notify;

use super::ours;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// One task publishes, a worker with one handler consumes.
#[derive(Debug)]
pub(super) struct WithWorker;

#[async_trait]
impl Contender for WithWorker {
    fn name(&self) -> &'static str {
        "kombu, Worker"
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let connection = kombu::connect(work.url.as_str()).await?;
        let queue = Queue::new(work.queue.as_str());
        connection.declare_queue(&queue).await?;
        let producer = connection.producer().await?;
        let left = Arc::new(AtomicU64::new(work.count));
        let all_done = Arc::new(Notify::new());
        let (counts, done, checks) = (Arc::clone(&left), Arc::clone(&all_done), work.clone());
        let worker =
            Worker::new(&connection).prefetch(work.prefetch).on(&queue, move |job: Job| {
                let checked = checks.check(&job.message().body).map_err(|error| error.to_string());
                if counts.fetch_sub(1, Ordering::Relaxed) == 1 {
                    done.notify_one();
                }
                async move { checked }
            });
        let meter = work.meter();
        let (does, with) = (work.clone(), producer.clone());
        let producing =
            tokio::spawn(async move { ours::publish(&with, &does, ours::Style::Each).await });
        let mut sample = None;
        worker
            .run(async {
                all_done.notified().await;
                sample = Some(meter.stop(work.count));
            })
            .await?;
        producing.await??;
        let waiting = producer.channel().size(&work.queue).await?;
        ensure!(waiting == 0, "{waiting} messages are left");
        producer.channel().delete_queue(&work.queue).await?;
        connection.close().await?;
        sample.ok_or_else(|| anyhow::anyhow!("the worker ended early"))
    }
}
