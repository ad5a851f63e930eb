//! What is built of the handles, on brokers inside the process.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod blocking;
mod broadcast;
mod drain;
mod rpc;
mod simple;

use std::time::Duration;

use kombu_core::{Connection, ConnectionBuilder, Delivery, Result};
use kombu_transport_memory::MemoryTransport;
use tokio::time::{Instant, sleep};

/// A broker of the test's own.
fn builder() -> ConnectionBuilder {
    Connection::builder("memory://").transport(MemoryTransport::new())
}

async fn connect() -> Result<Connection> {
    builder().connect().await
}

fn text(delivery: &Delivery) -> String {
    delivery.decode().unwrap()
}

/// Waits until so many messages wait in a queue.
async fn size_becomes(connection: &Connection, queue: &str, wanted: u64) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let size = connection.size(queue).await.unwrap();
        if size == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{size} messages wait in {queue}, not {wanted}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a queue is gone.
async fn queue_goes(connection: &Connection, queue: &str) {
    let deadline = Instant::now() + LIMIT;
    while connection.size(queue).await.is_ok() {
        assert!(Instant::now() < deadline, "{queue} is still there");
        sleep(Duration::from_millis(1)).await;
    }
}

const LIMIT: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(50);
