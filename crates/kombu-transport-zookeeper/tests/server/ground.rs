//! Where the cases run: the servers' URL, connections to them, and waiting with a limit.

use std::env;
use std::time::Duration;

use kombu_core::{Connection, ConnectionBuilder, Consumer, Delivery, Queue};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::case::Outcome;
use crate::here;

/// A variable that says something.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The URL of the server, with options.
pub(crate) fn url(options: &str) -> String {
    with_options(&variable(&format!("KOMBU_TEST_{}_URL", here::NAME)).unwrap_or_default(), options)
}

/// A URL with options.
pub(crate) fn with_options(url: &str, options: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    if options.is_empty() { url.to_owned() } else { format!("{url}{separator}{options}") }
}

/// A queue that no other case has.
pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(format!("ks-{name}-{}", Uuid::new_v4().simple()))
}

/// A connection to come, of a transport of its own, so that no other knows what it leaves.
pub(crate) fn builder(url: &str) -> ConnectionBuilder {
    Connection::builder(url).transport(here::transport())
}

/// A connection to the server.
pub(crate) async fn connect() -> kombu_core::Result<Connection> {
    builder(&url("")).connect().await
}

/// Publishes these numbers in one batch.
pub(crate) async fn fill(
    connection: &Connection,
    queue: &Queue,
    numbers: impl IntoIterator<Item = u64, IntoIter: Send>,
) -> Outcome {
    let producer = connection.producer().await?;
    let batch = numbers.into_iter().map(|number| producer.publish(&number).to_queue(queue));
    for result in producer.publish_batch(batch).await {
        result?;
    }
    Ok(())
}

/// The next delivery, which must come soon.
pub(crate) async fn next(consumer: &mut Consumer) -> kombu_core::Result<Delivery> {
    let next = timeout(SOON, consumer.next()).await;
    next.expect("a message within 30 s").expect("the consumer's stream goes on")
}

/// The next numbers, each acknowledged.
pub(crate) async fn numbers(consumer: &mut Consumer, count: usize) -> kombu_core::Result<Vec<u64>> {
    let mut came = Vec::new();
    while came.len() < count {
        let delivery = next(consumer).await?;
        came.push(delivery.decode()?);
        delivery.ack_confirmed().await?;
    }
    Ok(came)
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited {SOON:?} for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Does something to a broker by the command in a variable, and returns when its effect shows.
pub(crate) async fn control(name: &str, action: &str) -> Outcome {
    let command = variable(name).unwrap_or_default();
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).arg(action).output().await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}

/// Shows a figure.
#[expect(clippy::print_stderr, reason = "a test program's output")]
pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}

/// How long anything may take that is bound to happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);
