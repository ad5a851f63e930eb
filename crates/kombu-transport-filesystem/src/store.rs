//! One connection's view of the folders.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Queue, Result};
use kombu_virtual::{Claim, Claimed, Interrupt, Put, Settlement, Store, StoreFeatures, Topology};
use tokio::time::{Instant, sleep_until};

use crate::claims;
use crate::control::Control;
use crate::error;
use crate::folders::Folders;
use crate::inbox::{self, Inbox, Receipt};
use crate::names;
use crate::options::FilesystemOptions;
use crate::outbox::Outbox;
use crate::settling;
use crate::topology::FilesystemTopology;

#[derive(Debug)]
pub(crate) struct FilesystemStore {
    folders: Arc<Folders>,
    inbox: Arc<Inbox>,
    outbox: Arc<Outbox>,
    control: Arc<Control>,
    topology: FilesystemTopology,
}

impl FilesystemStore {
    /// Finds the folders.
    pub(crate) async fn open(options: FilesystemOptions, poll: Duration) -> Result<Self> {
        let (encoding, fsync) = (options.layer.body_encoding, options.fsync);
        let folders = apart(move || {
            let folders = Folders::open(&options)?;
            if let Err(error) = claims::recover(&folders) {
                // Whoever only publishes does not need it.
                tracing::warn!(%error, "what dead consumers held does not come back");
            }
            Ok(folders)
        });
        let folders = Arc::new(folders.await?);
        let control = Arc::new(Control::new(folders.control.clone()));
        Ok(Self {
            inbox: Arc::new(Inbox::new(Arc::clone(&folders), poll)),
            outbox: Arc::new(Outbox::new(Arc::clone(&folders), encoding, fsync)),
            topology: FilesystemTopology::new(Arc::clone(&control)),
            control,
            folders,
        })
    }

    /// Does something with the folders.
    async fn with_folders<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folders) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folders = Arc::clone(&self.folders);
        apart(move || work(&folders)).await
    }
}

#[async_trait]
impl Store for FilesystemStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "filesystem"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.maintenance = Some(RECOVERY);
        features.longest_wait = Duration::from_secs(3600);
        features.claim_batch = 250;
        // What goes back goes back in its order.
        features.settle_batch = 10_000;
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        ServerInfo::new("Kombu filesystem", env!("CARGO_PKG_VERSION"))
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        let (control, queue) = (Arc::clone(&self.control), queue.name().to_owned());
        apart(move || control.declare_queue(&queue)).await
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        if names::check_queue(queue).is_err() {
            return Ok(false);
        }
        let (control, queue) = (Arc::clone(&self.control), queue.to_owned());
        self.with_folders(move |folders| {
            Ok(control.has_queue(&queue)? || !inbox::waiting(folders, &queue)?.is_empty())
        })
        .await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        if names::check_queue(queue).is_err() {
            return Ok(0);
        }
        let (control, queue) = (Arc::clone(&self.control), queue.to_owned());
        self.with_folders(move |folders| {
            // First what is claimed: it is not to come back to a queue that is gone.
            claims::remove_queue(folders, &queue);
            let count = purge(folders, &queue)?;
            control.forget_queue(&queue)?;
            Ok(count)
        })
        .await
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let queue = queue.to_owned();
        self.with_folders(move |folders| purge(folders, &queue)).await
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        let queue = queue.to_owned();
        self.with_folders(move |folders| Ok(inbox::waiting(folders, &queue)?.len() as u64)).await
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        names::check_queue(queue)?;
        let inbox = Arc::clone(&self.inbox);
        apart(move || inbox.claims().map(drop)).await
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let (outbox, count) = (Arc::clone(&self.outbox), batch.len());
        apart(move || Ok(outbox.put(&batch)))
            .await
            .unwrap_or_else(|error| (0..count).map(|_| Err(error.duplicate())).collect())
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let deadline = Instant::now() + claim.wait;
        loop {
            let (inbox, wants) = (Arc::clone(&self.inbox), claim.wants.to_vec());
            let taken = apart(move || inbox.take(&wants)).await?;
            if !taken.claimed.is_empty() || claim.wait.is_zero() {
                return Ok(taken.claimed);
            }
            let alarm = taken.alarm;
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(Vec::new()),
                () = ring(alarm.as_deref()) => {}
                () = sleep_until(deadline.min(taken.again.into())) => {}
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let (folders, inbox, count) =
            (Arc::clone(&self.folders), Arc::clone(&self.inbox), batch.len());
        apart(move || {
            let claims = inbox.claims()?;
            let settle = |one| settling::settle(&folders, &inbox, &claims, one);
            Ok(batch.iter().map(settle).collect())
        })
        .await
        .unwrap_or_else(|error| (0..count).map(|_| Err(error.duplicate())).collect())
    }

    async fn maintain(&self, _: &Interrupt) -> Result<()> {
        let inbox = Arc::clone(&self.inbox);
        let count = self.with_folders(move |folders| {
            inbox.tidy();
            claims::recover(folders)
        });
        match count.await? {
            0 => {}
            count => tracing::info!(count, "messages of consumers that died are back"),
        }
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        self.with_folders(|folders| {
            for folder in [&folders.inbox, &folders.outbox] {
                std::fs::metadata(folder)
                    .map_err(|error| error::io(error, "open folder", folder))?;
            }
            Ok(())
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        let inbox = Arc::clone(&self.inbox);
        apart(move || {
            inbox.close();
            Ok(())
        })
        .await
    }
}

/// Does something that blocks where that disturbs nobody.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Other, "the work with files ended early").caused_by(error))
    })
}

async fn ring(alarm: Option<&crate::notices::Alarm>) {
    match alarm {
        Some(alarm) => alarm.ring().await,
        None => std::future::pending().await,
    }
}

fn purge(folders: &Folders, queue: &str) -> Result<u64> {
    let mut count = 0;
    for file in inbox::waiting(folders, queue)? {
        match std::fs::remove_file(&file) {
            Ok(()) => count += 1,
            // Somebody else took it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error::io(error, "remove message", &file)),
        }
    }
    Ok(count)
}

/// How often somebody looks for what dead consumers held.
const RECOVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use kombu_core::transport::{Outcome, Publish};
    use kombu_core::{Message, Properties};
    use kombu_virtual::Want;
    use kombu_virtual::envelope::{self, Stamp};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = format!("kombu-store-{}-{name}", std::process::id());
            let folder = std::env::temp_dir().join(folder);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        /// A store that hears of nothing, and looks every 20 ms.
        async fn unwatched(&self) -> FilesystemStore {
            let store = self.store().await;
            store.inbox.never_watch();
            store
        }

        async fn store(&self) -> FilesystemStore {
            let options = FilesystemOptions {
                data_folder_in: self.0.clone(),
                data_folder_out: self.0.clone(),
                control_folder: self.0.join("control"),
                ..FilesystemOptions::default()
            };
            FilesystemStore::open(options, Duration::from_millis(20)).await.unwrap()
        }

        /// Writes a message as Kombu does.
        fn write(&self, stem: &str) {
            let publish = Publish::new("", "q", Message::new(stem.to_owned(), Properties::new()));
            let text = envelope::encode(&publish, &Stamp::new("tag")).unwrap();
            fs::write(self.0.join(format!("{stem}.q.msg")), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    async fn claim(store: &FilesystemStore, limit: usize) -> Vec<Claimed<Receipt>> {
        let wants = [Want::new("q".into(), limit, false)];
        let interrupt = Interrupt::new();
        let claim = Claim::new(&wants, Duration::from_secs(20), &interrupt);
        store.claim(claim).await.unwrap()
    }

    fn bodies(claimed: &[Claimed<Receipt>]) -> Vec<&[u8]> {
        claimed.iter().map(|claimed| &claimed.message.body[..]).collect()
    }

    #[tokio::test]
    async fn where_nothing_is_told_the_folder_is_looked_at_again() {
        let folder = Folder::new("poll");
        let store = folder.unwatched().await;
        let (claimed, ()) = tokio::join!(claim(&store, 10), async {
            tokio::task::yield_now().await;
            folder.write("1_a");
        });
        assert_eq!(bodies(&claimed), [b"1_a"]);
        folder.write("2_b");
        assert_eq!(bodies(&claim(&store, 10).await), [b"2_b"]);
    }

    #[tokio::test]
    async fn where_nothing_is_told_the_order_is_kept() {
        let folder = Folder::new("order");
        let store = folder.unwatched().await;
        for stem in ["3_c", "1_a", "10_d", "2_b"] {
            folder.write(stem);
        }
        let first = claim(&store, 1).await;
        assert_eq!(bodies(&first), [b"1_a"]);
        let receipt = first[0].receipt.clone().unwrap();
        let back = Settlement::new("q".into(), receipt, Outcome::Requeue);
        store.settle(vec![back]).await.remove(0).unwrap();
        let again = claim(&store, 2).await;
        assert_eq!(bodies(&again), [b"1_a", b"2_b"]);
        assert!(again[0].redelivered && !again[1].redelivered);
        assert_eq!(bodies(&claim(&store, 9).await), [&b"3_c"[..], b"10_d"]);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_is_replaced_at_once_is_watched_like_the_first() {
        let folder = Folder::new("replaced");
        let store = folder.store().await;
        folder.write("1_a");
        assert_eq!(bodies(&claim(&store, 1).await), [b"1_a"]);
        // Before anyone looks at the first one again.
        let old = Folder(folder.0.with_extension("old"));
        fs::rename(&folder.0, &old.0).unwrap();
        fs::create_dir(&folder.0).unwrap();
        let (claimed, ()) = tokio::join!(claim(&store, 1), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            folder.write("2_b");
        });
        assert_eq!(bodies(&claimed), [b"2_b"]);
        // Its lock is held by the store, which keeps the system from telling of the end.
        fs::remove_dir_all(&folder.0).unwrap();
        fs::create_dir(&folder.0).unwrap();
        let (claimed, ()) = tokio::join!(claim(&store, 1), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            store.maintain(&Interrupt::new()).await.unwrap();
            folder.write("3_c");
        });
        assert_eq!(bodies(&claimed), [b"3_c"]);
    }
}
