//! Puts into a queue and gets from it. A broker's URL may be given:
//! `cargo run --example simple_queue --features redis -- redis://localhost`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;

    // The same queue as Python's `connection.SimpleQueue("example.jobs")`.
    let mut jobs = connection.simple_queue("example.jobs").prefetch(1).open().await?;
    for job in ["sweep", "dust", "rest"] {
        jobs.put(job).await?;
    }
    println!("{} jobs wait", jobs.size().await?);

    let first = jobs.get().await?;
    println!("first {}", first.decode::<String>()?);
    // Not now: it is the next one again, or the last on a broker that has no way to the head.
    first.requeue().await?;

    let mut done = Vec::new();
    while let Some(job) = jobs.get_within(Duration::from_secs(1)).await? {
        done.push(job.decode::<String>()?);
        job.ack().await?;
    }
    println!("did {done:?}");
    match connection.capabilities().await?.requeue_to_head {
        true => assert_eq!(done, ["sweep", "dust", "rest"]),
        false => assert_eq!(done, ["dust", "rest", "sweep"]),
    }

    assert!(jobs.try_get().await?.is_none());
    jobs.put("forget").await?;
    println!("dropped {}", jobs.clear().await?);
    jobs.close().await?;
    connection.delete_queue("example.jobs").await?;

    // For messages that may be lost: private, settled by being taken, gone with the connection.
    let mut log = connection.simple_buffer("example.log").open().await?;
    log.put("a line").await?;
    println!("logged {:?}", log.get().await?.decode::<String>()?);
    log.close().await?;
    connection.close().await
}
