//! Without a subscriber no span is made, also where something in the program turns on the feature
//! `log` of `tracing`, as sqlx does and as it is here: it would be written out for a log.

use std::sync::Mutex;

use kombu_core::{Connection, Queue, Result};
use kombu_transport_memory::MemoryTransport;

static WRITTEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps the targets of what is written.
struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        WRITTEN.lock().expect("nobody panics").push(record.target().to_owned());
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn spans_that_nobody_wants_are_not_made() -> Result<()> {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    drop(tracing::info_span!(target: "a span of others", "x", y = 1));
    let connection =
        Connection::builder("memory://").transport(MemoryTransport::new()).connect().await?;
    let queue = Queue::new("q");
    let mut consumer = connection.consumer(&queue).start().await?;
    connection.producer().await?.publish("x").to_queue(&queue).await?;
    let delivery = consumer.next().await.expect("the stream goes on")?;
    drop(delivery.span());
    delivery.ack().await?;
    connection.close().await?;
    let written = WRITTEN.lock().unwrap();
    assert!(written.iter().any(|target| target == "a span of others"), "the feature is on");
    let ours: Vec<_> = written.iter().filter(|target| *target == "kombu").collect();
    assert!(ours.is_empty(), "{ours:?}");
    Ok(())
}
