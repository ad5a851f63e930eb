//! Publishes and receives without an async runtime. A broker's URL may be given:
//! `cargo run --example blocking --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::thread;

use kombu::blocking;
use kombu::prelude::*;

fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let media = Exchange::direct("example.media");
    let videos = Queue::new("example.video").bind(&media, "video");

    let connection = blocking::connect(url.as_str())?;
    let mut consumer = connection.consume_with(&videos, |consumer| consumer.prefetch(10))?;

    // Handles are shared among threads as they are.
    let producer = connection.producer()?;
    thread::scope(|threads| {
        for name in ["cats", "dogs", "owls"] {
            let (producer, media) = (producer.clone(), &media);
            threads.spawn(move || {
                producer.publish(name, |message| message.to(media, "video")).expect("published");
            });
        }
    });

    let mut seen = Vec::new();
    for delivery in consumer.by_ref().take(3) {
        let delivery = delivery?;
        seen.push(delivery.decode::<String>()?);
        delivery.ack()?;
    }
    seen.sort();
    println!("received {seen:?}");
    assert_eq!(seen, ["cats", "dogs", "owls"]);

    consumer.close()?;
    println!("{} messages are left", connection.delete_queue("example.video")?);
    connection.close()
}
