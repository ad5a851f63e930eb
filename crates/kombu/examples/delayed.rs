//! Publishes reminders for later; the broker keeps them until they are due. A broker's URL may be
//! given: `cargo run --example delayed --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::{Duration, Instant, SystemTime};

use kombu::prelude::*;

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;
    let reminders = Queue::new("example.reminders");
    let mut consumer = connection.consumer(&reminders).start().await?;

    let begun = Instant::now();
    let producer = connection.producer().await?;
    // A broker that cannot keep messages for later says so; it never delivers them at once.
    producer.publish(&"tea").to_queue(&reminders).delay(Duration::from_secs(2)).await?;
    let soon = SystemTime::now() + Duration::from_secs(1);
    producer.publish(&"kettle").to_queue(&reminders).at(soon).await?;
    producer.publish(&"guests").to_queue(&reminders).await?;

    for _ in 0..3 {
        let Some(delivery) = consumer.next().await else { break };
        let delivery = delivery?;
        let reminder: String = delivery.decode()?;
        println!("{reminder} after {:.1} s", begun.elapsed().as_secs_f32());
        delivery.ack().await?;
    }
    consumer.close().await?;
    connection.close().await
}
