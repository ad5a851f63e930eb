//! What a transport's own tests are made of: cases that need a real broker, processes that are
//! killed, messages that flow while something happens, Python's Kombu beside.
//!
//! The suite shows what all transports have in common; a test program of these shows what only one
//! has. It is a test target without a harness:
//!
//! ```no_run
//! use kombu_conformance::kit::{self, Case, Outcome, process};
//! use kombu_core::Connection;
//!
//! kombu_conformance::own_cases! {
//!     beside messages_come_in_order [];
//! }
//!
//! async fn messages_come_in_order() -> Outcome {
//!     Ok(())
//! }
//!
//! /// The variable with the broker's URL.
//! const URL: &str = "KOMBU_TEST_MINE_URL";
//!
//! fn main() -> std::process::ExitCode {
//!     // This process may have been started to be killed.
//!     process::work(|url| Connection::builder(url)).unwrap_or_else(|| kit::run(&[URL], cases()))
//! }
//! ```

mod case;
mod kills;
mod peer;
pub mod process;
mod traffic;

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use kombu_core::{Connection, Consumer, Delivery, ErrorKind, Queue};
use tokio::time::{Instant, sleep, timeout};

pub use case::{Case, Impossible, Outcome, run, run_where};
pub use kills::{Tally, kill_consumers};
pub use peer::{PYTHON, Peer};
pub use traffic::{Traffic, with_traffic};

use crate::control::CommandControl;

/// Anything, or what kept a case from it.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long anything may take that is bound to happen: 30 s.
pub const SOON: Duration = Duration::from_secs(30);

/// A variable of the environment that says something.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The number in a variable of the environment, or another one.
///
/// # Errors
///
/// A variable that is no number.
pub fn count(name: &str, default: usize) -> Result<usize> {
    variable(name).map_or(Ok(default), |count| Ok(count.parse()?))
}

/// A URL with further options, `a=b&c=d`; none if that is empty.
#[must_use]
pub fn with_options(url: &str, options: &str) -> String {
    match options {
        "" => url.to_owned(),
        options => crate::address::with_option(url, options),
    }
}

/// Publishes these numbers to a queue, in one batch.
///
/// # Errors
///
/// The first error of a publish.
pub async fn fill(
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
///
/// # Errors
///
/// That of the consumer.
///
/// # Panics
///
/// When none comes within [`SOON`], or the stream has ended.
pub async fn next(consumer: &mut Consumer) -> kombu_core::Result<Delivery> {
    let next = timeout(SOON, consumer.next()).await;
    next.expect("a message within 30 s").expect("the consumer's stream goes on")
}

/// The next numbers, each acknowledged.
///
/// # Errors
///
/// Those of the consumer, of a body that is no number, and of acknowledging.
///
/// # Panics
///
/// When one does not come within [`SOON`].
pub async fn numbers(consumer: &mut Consumer, count: usize) -> kombu_core::Result<Vec<u64>> {
    let mut came = Vec::new();
    while came.len() < count {
        let delivery = next(consumer).await?;
        came.push(delivery.decode()?);
        delivery.ack_confirmed().await?;
    }
    Ok(came)
}

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not within [`SOON`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited {SOON:?} for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Does something to a broker by the command in a variable of the environment, and returns when
/// its effect shows. The actions are those of `cargo xtask control`.
///
/// # Errors
///
/// [`Impossible`] for an action that this broker does not have, and those of the command.
pub async fn control(name: &str, action: &str) -> Outcome {
    match CommandControl::new(&variable(name).unwrap_or_default()).run(action).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            Err(Impossible::new(error.to_string()).into())
        }
        done => Ok(done?),
    }
}

/// Says beside the results what a case has seen.
pub fn say(what: std::fmt::Arguments<'_>) {
    let _nobody_reads = writeln!(std::io::stderr(), "{what}");
}
