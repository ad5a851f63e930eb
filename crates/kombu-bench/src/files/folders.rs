//! The folders that runs use.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use kombu::BrokerUrl;
use rustix::time::{ClockId, clock_gettime};

/// A folder of messages and what lies beside it.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    pub(super) data: PathBuf,
    /// Where messages are written.
    pub(super) drafts: PathBuf,
    /// Where claimed messages are.
    pub(super) claims: PathBuf,
}

impl Folders {
    /// Makes folders below another one, and says how to reach them.
    pub(super) fn make(below: &Path) -> Result<String> {
        let root = below.join(format!("kombu-bench-{}", std::process::id()));
        for name in ["data", "control", "drafts", "claims"] {
            fs::create_dir_all(root.join(name))?;
        }
        Ok(format!(
            "filesystem://?data_folder_in={0}/data&data_folder_out={0}/data&control_folder={0}/control",
            root.display()
        ))
    }

    /// Those of a URL.
    pub(super) fn of(url: &str) -> Result<Self> {
        let url = BrokerUrl::parse(url)?;
        let data = url.query().find(|(name, _)| *name == "data_folder_in");
        let data = PathBuf::from(data.context("no folder in the URL")?.1);
        let root = data.parent().context("a folder in a folder")?.to_owned();
        Ok(Self { drafts: root.join("drafts"), claims: root.join("claims"), data })
    }

    /// Removes them.
    pub(super) fn remove(url: &str) -> Result<()> {
        let folders = Self::of(url)?;
        Ok(fs::remove_dir_all(folders.data.parent().context("a folder in a folder")?)?)
    }

    /// The files of a queue.
    pub(super) fn messages(&self, queue: &str) -> io::Result<Vec<String>> {
        let end = format!(".{queue}.msg");
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.data)? {
            let name = entry?.file_name().into_string().unwrap_or_default();
            if name.ends_with(&end) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// A file system in memory, if there is one.
pub(super) fn in_memory() -> Option<PathBuf> {
    Some(PathBuf::from("/dev/shm")).filter(|folder| folder.is_dir())
}

/// One on a disk.
pub(super) fn on_disk() -> PathBuf {
    env::temp_dir()
}

/// Milliseconds since the machine was started.
pub(super) fn millis() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}
