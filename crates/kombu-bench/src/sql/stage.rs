//! What surrounds a run on SQLite.

use anyhow::{Result, ensure};
use async_trait::async_trait;
use kombu::{Connection, Queue};
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Mutex;

use super::file::connect;
use super::raw;
use crate::body::Body;
use crate::stage::Stage;
use crate::work::Work;

/// A connection of ours, which makes the tables, and one of its own.
#[derive(Debug)]
pub(crate) struct SqlStage {
    url: String,
    ours: Connection,
    own: Mutex<SqliteConnection>,
}

impl SqlStage {
    /// Opens the file.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        let ours = kombu::connect(url).await?;
        Ok(Self { url: url.to_owned(), ours, own: Mutex::new(connect(url).await?) })
    }
}

#[async_trait]
impl Stage for SqlStage {
    async fn fresh(&self, queue: &str) -> Result<()> {
        self.delete(queue).await?;
        self.ours.declare_queue(&Queue::new(queue)).await?;
        Ok(())
    }

    /// Adds what is missing.
    async fn fill(&self, queue: &str, body: &[u8], count: u64) -> Result<()> {
        if self.ours.declare_queue(&Queue::new(queue)).await?.messages > count {
            self.ours.purge(queue).await?;
        }
        let have = self.ours.size(queue).await?;
        let mut own = self.own.lock().await;
        let id = raw::queue(&mut own, queue).await?;
        let work = Work {
            url: self.url.clone(),
            queue: queue.to_owned(),
            body: Body { bytes: body.to_vec().into(), ..Body::of(100)? },
            count,
            prefetch: 0,
            window: 0,
            broker: None,
        };
        let missing = usize::try_from(count.saturating_sub(have))?;
        raw::store(&mut own, id, &work, missing).await?;
        drop(own);
        self.expect(queue, count).await
    }

    async fn expect(&self, queue: &str, count: u64) -> Result<()> {
        let left = self.ours.size(queue).await?;
        ensure!(left == count, "{left} messages are in the queue, {count} should be");
        let mut own = self.own.lock().await;
        // Python leaves what it took; nobody may hold anything.
        let held = sqlx::query("SELECT COUNT(*) FROM kombu_message WHERE visible IS NULL");
        let held: i64 = held.fetch_one(&mut *own).await?.try_get(0)?;
        ensure!(held == 0, "{held} messages are not acknowledged");
        Ok(())
    }

    async fn delete(&self, queue: &str) -> Result<()> {
        self.ours.delete_queue(queue).await?;
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.ours.close().await?;
        Ok(())
    }
}
