//! Publishes videos and receives them. A broker's URL may be given:
//! `cargo run --example quickstart --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use kombu::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize)]
struct Video {
    name: String,
    size: u64,
}

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());

    // Entities are values: nothing happens until they are used.
    let media = Exchange::direct("media");
    let videos = Queue::new("video").bind(&media, "video");

    let connection = kombu::connect(url.as_str()).await?;
    let server = connection.server().await?;
    println!("connected to {} {}", server.product, server.version);

    // Starting a consumer declares its queue, the exchange and the binding.
    let mut consumer = connection.consumer(&videos).prefetch(10).start().await?;

    // Awaiting a publication waits for the broker's confirm.
    let producer = connection.producer().await?;
    for (name, size) in [("cats", 1_301_013), ("dogs", 998_004), ("owls", 77_120)] {
        let video = Video { name: name.to_owned(), size };
        producer.publish(&video).to(&media, "video").priority(5).header("trace", size).await?;
        println!("published {name}");
    }

    for _ in 0..3 {
        let Some(delivery) = consumer.next().await else { break };
        let delivery = delivery?;
        let video: Video = delivery.decode()?;
        println!("received {video:?} from queue {:?}", delivery.queue());
        delivery.ack().await?;
    }

    consumer.close().await?;
    connection.close().await
}
