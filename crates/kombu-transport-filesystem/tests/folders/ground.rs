//! Where the cases run: folders of their own, connections to them, and waiting with a limit.

use std::env;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kombu_core::{Connection, ConnectionBuilder, Consumer, Delivery, Queue};
use kombu_transport_filesystem::FilesystemTransport;
use tokio::time::{Instant, sleep, timeout};

use crate::case::Outcome;

/// Folders of one case, which are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    root: PathBuf,
}

impl Ground {
    pub(crate) fn new(name: &str) -> std::io::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = format!("kombu-folders-{}-{number}-{name}", std::process::id());
        let ground = Self { root: env::temp_dir().join(root) };
        fs::create_dir_all(ground.data())?;
        Ok(ground)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of messages.
    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.root.join("control")
    }

    /// The URL of these folders.
    pub(crate) fn url(&self) -> String {
        format!(
            "filesystem://?data_folder_in={0}&data_folder_out={0}&control_folder={1}",
            self.data().display(),
            self.control().display()
        )
    }

    pub(crate) fn builder(&self) -> ConnectionBuilder {
        Connection::builder(self.url()).transport(FilesystemTransport::new())
    }

    pub(crate) async fn connect(&self) -> kombu_core::Result<Connection> {
        self.builder().connect().await
    }

    /// The names of message files in the folder of messages, sorted as Python sorts them.
    pub(crate) fn messages(&self) -> Vec<String> {
        names(&self.data()).into_iter().filter(|name| name.ends_with(".msg")).collect()
    }

    /// The files below a folder of ours that are messages.
    pub(crate) fn beneath(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.data().join(folder)];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else if path.extension().is_none_or(|extension| extension != "lock") {
                    found.push(path);
                }
            }
        }
        found
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A variable that says something.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
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
