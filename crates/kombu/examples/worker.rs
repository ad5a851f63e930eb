//! Works on the messages of two queues: some at a time, with a deadline, retries and dead letters,
//! until all is done or Ctrl-C. A broker's URL may be given:
//! `cargo run --example worker --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kombu::prelude::*;
use kombu::worker::{Job, Next, Worker};
use kombu::{Error, RetryPolicy};
use tokio::sync::Notify;

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;
    let (videos, thumbnails, failed) = (
        Queue::new("example.video"),
        Queue::new("example.thumbnail"),
        Queue::new("example.failed"),
    );

    let producer = connection.producer().await?;
    for name in ["cats", "dogs", "owls", "broken", "slow"] {
        producer.publish(&name).to_queue(&videos).await?;
    }
    producer.publish(&42).to_queue(&videos).await?;
    connection.declare_queue(&failed).await?;

    let thumbnails_left = Arc::new(AtomicUsize::new(3));
    let all_done = Arc::new(Notify::new());
    let done = Arc::clone(&all_done);
    let thumbnail = thumbnails.clone();
    Worker::new(&connection)
        .on(&videos, move |job: Job| {
            let thumbnail = thumbnail.clone();
            async move {
                let name: String = job.decode()?;
                match name.as_str() {
                    "broken" => panic!("{name} cannot be encoded"),
                    "slow" => std::future::pending().await,
                    "dogs" if job.attempt() < 3 => return Err(Error::lost("the encoder is away")),
                    _ => {}
                }
                job.producer().publish(&format!("{name}.png")).to_queue(&thumbnail).await
            }
        })
        .on_value(&thumbnails, move |name: String| {
            println!("thumbnail {name}");
            if thumbnails_left.fetch_sub(1, Ordering::Relaxed) == 1 {
                done.notify_one();
            }
            async {}
        })
        .layer(|job: Job, next: Next| async move {
            let verdict = next.run(job.clone()).await;
            println!("{}, attempt {}: {verdict:?}", job.queue(), job.attempt());
            verdict
        })
        .concurrency(4)
        .deadline(Duration::from_millis(500))
        .retry(RetryPolicy::message().interval_start(Duration::from_millis(50)).max_retries(2))
        .dead_letters(&failed)
        .run(async {
            tokio::select! {
                () = all_done.notified() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        })
        .await?;

    // What could not be done waits here, with the reason; what was not done yet in its queue.
    while let Some(letter) = connection.get(failed.name()).await? {
        println!("failed: {:?}", letter.headers().get(kombu::worker::ERROR_HEADER));
        letter.ack().await?;
    }
    connection.close().await
}
