//! The file of a run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};

/// A folder with a database in it, on the disk; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct File {
    folder: PathBuf,
}

impl File {
    pub(super) fn make() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("kombu-bench-sql-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub(super) fn url(&self) -> String {
        format!("sqla+sqlite:///{}", self.folder.join("kombu.db").display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A connection as a careful program opens it: what is committed survives a power cut.
pub(super) async fn connect(url: &str) -> Result<SqliteConnection> {
    let path = url.strip_prefix("sqla+sqlite:///").context("not the URL of a SQLite file")?;
    let options = SqliteConnectOptions::new()
        .filename(Path::new(path))
        .row_buffer_size(1024)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    Ok(options.connect().await?)
}
