//! What surrounds a run on folders.

use std::fs;

use anyhow::{Result, ensure};
use async_trait::async_trait;

use super::folders::Folders;
use super::raw;
use crate::stage::Stage;

/// The folders of a URL.
#[derive(Debug)]
pub(crate) struct FilesStage {
    folders: Folders,
}

impl FilesStage {
    /// Finds them.
    pub(crate) fn open(url: &str) -> Result<Self> {
        Ok(Self { folders: Folders::of(url)? })
    }
}

#[async_trait]
impl Stage for FilesStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.delete(queue).await
    }

    /// Adds what is missing.
    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        let have = self.folders.messages(queue)?.len() as u64;
        let mut missing = count.saturating_sub(have);
        while missing > 0 {
            let some = missing.min(500);
            raw::store(&self.folders, queue, body, some, false)?;
            missing -= some;
        }
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let left = self.folders.messages(queue)?.len() as u64;
        ensure!(left == count, "{left} messages are in the queue, {count} should be");
        for claims in [&self.folders.claims, &self.folders.data.join(".claimed")] {
            let held = fs::read_dir(claims).into_iter().flatten().count();
            ensure!(held == 0, "{held} messages are not acknowledged");
        }
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        for name in self.folders.messages(queue)? {
            fs::remove_file(self.folders.data.join(name))?;
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
