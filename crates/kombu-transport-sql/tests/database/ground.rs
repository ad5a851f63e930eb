//! Where the cases run: the database, connections to it, and waiting with a limit.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use kombu_core::{Connection, ConnectionBuilder, Consumer, Delivery, Queue};
use kombu_transport_sql::SqlTransport;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::case::Outcome;

/// Which database it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Database {
    MySql,
    Postgres,
    Sqlite,
}

/// A variable that says something.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The database's URL.
pub(crate) fn bare_url() -> String {
    variable("KOMBU_TEST_SQL_URL").unwrap_or_else(|| {
        let made = std::fs::create_dir_all(folder());
        made.expect("the folder of temporary files can be written to");
        format!("sqla+sqlite:///{}", folder().join("kombu.db").display())
    })
}

/// The database's URL with options.
pub(crate) fn url(options: &str) -> String {
    let mut url = bare_url();
    // Nothing cuts the power here, and a busy disk would only take its time.
    let file = (database() == Database::Sqlite).then_some("synchronous=normal");
    for option in file.into_iter().chain([options]).filter(|option| !option.is_empty()) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(option);
    }
    url
}

pub(crate) fn database() -> Database {
    match bare_url().split(['+', ':']).nth(1) {
        Some("postgresql") => Database::Postgres,
        Some("mysql") => Database::MySql,
        _ => Database::Sqlite,
    }
}

/// A folder that goes with this process.
pub(crate) fn folder() -> PathBuf {
    env::temp_dir().join(format!("kombu-sql-tests-{}", std::process::id()))
}

/// Removes it.
pub(crate) fn clear() {
    let _none = std::fs::remove_dir_all(folder());
}

/// A queue that no other case has.
pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(format!("ks-{name}-{}", Uuid::new_v4().simple()))
}

/// A connection to come, of a transport of its own, so that it shares nothing.
pub(crate) fn builder(options: &str) -> ConnectionBuilder {
    Connection::builder(url(options)).transport(SqlTransport::new())
}

/// A connection whose messages come back a second after its end.
pub(crate) async fn connect() -> kombu_core::Result<Connection> {
    builder("visibility_timeout=1").connect().await
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

/// Says beside the results what a case has seen.
pub(crate) fn say(what: std::fmt::Arguments<'_>) {
    let _nobody_reads = writeln!(std::io::stderr(), "{what}");
}

/// How long anything may take that is bound to happen.
pub(crate) const SOON: Duration = Duration::from_secs(30);
