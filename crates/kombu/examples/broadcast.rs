//! Tells everybody who listens. A broker's URL may be given:
//! `cargo run --example broadcast --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use kombu::Broadcast;

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;

    // Each has a queue of its own, on one exchange. Python's `Broadcast("example.news")` is another.
    let mut listeners = Vec::new();
    for name in ["cat", "dog", "owl"] {
        let news = Broadcast::new("example.news");
        listeners.push((name, connection.consumer(&news).start().await?));
    }

    let producer = connection.producer().await?;
    for body in ["breakfast", "dinner"] {
        producer.publish(body).to(Broadcast::new("example.news").exchange(), "").await?;
    }

    for (name, listener) in listeners {
        let mut heard = Vec::new();
        let mut listener = listener.drain().limit(2).within(Duration::from_secs(10)).required();
        while let Some(delivery) = listener.next().await {
            let delivery = delivery?;
            heard.push(delivery.decode::<String>()?);
            delivery.ack().await?;
        }
        println!("{name} heard {heard:?}");
        assert_eq!(heard, ["breakfast", "dinner"]);
        listener.close().await?;
    }
    connection.close().await
}
