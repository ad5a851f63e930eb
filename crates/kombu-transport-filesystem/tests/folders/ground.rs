//! Where the cases run: folders of their own, connections to them, and waiting with a limit.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use kombu_conformance::kit::{Peer, Result};
use kombu_core::{Connection, ConnectionBuilder};
use kombu_transport_filesystem::FilesystemTransport;

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
        builder(&self.url())
    }

    pub(crate) async fn connect(&self) -> kombu_core::Result<Connection> {
        self.builder().connect().await
    }

    /// A Python process on these folders.
    pub(crate) fn python(&self) -> Result<Peer> {
        Peer::start(&self.url(), &["polling_interval=0.05"])
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

/// A connection to come, of a transport of its own.
pub(crate) fn builder(url: &str) -> ConnectionBuilder {
    Connection::builder(url).transport(FilesystemTransport::new())
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Lists the cases of a module, each on folders of its own, with the variables that each needs.
macro_rules! cases {
    ($($name:ident [$($need:expr),*];)+) => {
        /// The cases of this module.
        pub(crate) fn cases() -> Vec<kombu_conformance::kit::Case> {
            vec![$(kombu_conformance::kit::Case {
                name: stringify!($name),
                needs: &[$($need),*],
                alone: false,
                act: || Box::pin(async {
                    let ground = $crate::ground::Ground::new(stringify!($name))?;
                    $name(&ground).await
                }),
            }),+]
        }
    };
}
pub(crate) use cases;
