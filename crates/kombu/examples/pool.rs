//! Lends connections and producers. A broker's URL may be given:
//! `cargo run --example pool --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use kombu::prelude::*;
use kombu::{ErrorKind, Pools};

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let queue = Queue::new("example.pool");

    // A pool for each URL that is asked for, as a value: pass it to whoever needs connections.
    let pools = Pools::new(kombu::connection).configure(|pool| pool.limit(2));

    // Four tasks share two producers, each on a connection of its own.
    let tasks = (0..4).map(|task| {
        let (producers, queue) = (pools.producers(url.as_str()), queue.clone());
        tokio::spawn(async move {
            let producer = producers?.acquire().await?;
            for number in 0..25 {
                producer.publish(&(task, number)).to_queue(&queue).await?;
            }
            Ok::<_, kombu::Error>(())
            // Dropped, the producer is the next one's.
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("it does not panic")?;
    }

    let pool = pools.connections(url.as_str())?;
    let connection = pool.acquire().await?;
    println!("{} messages wait", connection.size(queue.name()).await?);

    // Nothing is lent beyond the limit; `acquire` would wait for what comes back.
    let other = pool.acquire().await?;
    match pool.try_acquire().await {
        Err(error) if error.kind() == ErrorKind::LimitExceeded => println!("{error}"),
        other => panic!("a third one of two was lent: {other:?}"),
    }
    drop(other);

    let mut all = connection.consumer(&queue).drain(100).await?;
    while let Some(delivery) = all.next().await {
        delivery?.ack().await?;
    }
    all.close().await?;
    connection.delete_queue(queue.name()).await?;
    drop(connection);
    pools.close().await
}
