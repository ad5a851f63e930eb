//! Cursors that do not end: each step is a call of its own, bounded in time.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, Result};
use mongodb::bson::{Bson, Document, doc};

use crate::core::Core;
use crate::error;

/// A cursor that goes on when it has no more: on what comes into a capped collection, or changes.
#[derive(Debug)]
pub(crate) struct Cursor {
    id: i64,
    collection: String,
}

impl Cursor {
    /// Opens one by a command, and gives what it found at once. Without a cursor the server has
    /// closed it already: it has nothing to wait at, or does not wait.
    pub(crate) async fn open(
        core: &Core,
        collection: &str,
        command: Document,
    ) -> Result<(Vec<Document>, Option<Self>)> {
        let (id, found) = read(core.command(command).await?, "firstBatch")?;
        let cursor = (id != 0).then(|| Self { id, collection: collection.to_owned() });
        Ok((found, cursor))
    }

    /// Waits for more, for half a second at most. Nothing more if the server has closed it.
    pub(crate) async fn next(&mut self, core: &Core) -> Result<Option<Vec<Document>>> {
        let wait = i32::try_from(STEP.as_millis()).unwrap_or(i32::MAX);
        let more = doc! { "getMore": self.id, "collection": &self.collection, "maxTimeMS": wait };
        let told = match core.command(more).await {
            Err(error) if error::is_cursor_gone(&error) => return Ok(None),
            told => told?,
        };
        let (id, found) = read(told, "nextBatch")?;
        self.id = id;
        Ok((id != 0 || !found.is_empty()).then_some(found))
    }

    /// Lets the server close it.
    pub(crate) async fn close(self, core: &Core) {
        let kill = doc! { "killCursors": self.collection, "cursors": [self.id] };
        let _gone_in_any_case = core.command(kill).await;
    }
}

fn read(mut told: Document, batch: &str) -> Result<(i64, Vec<Document>)> {
    let cursor = told.get_document_mut("cursor").ok();
    let read = cursor.and_then(|cursor| {
        let id = cursor.get_i64("id").ok()?;
        let Ok(found) = cursor.get_array_mut(batch) else { return Some((id, Vec::new())) };
        let found = std::mem::take(found).into_iter().filter_map(|one| match one {
            Bson::Document(document) => Some(document),
            _ => None,
        });
        Some((id, found.collect()))
    });
    read.ok_or_else(|| Error::new(ErrorKind::Protocol, "the server's answer has no cursor"))
}

/// How long one step waits.
pub(crate) const STEP: Duration = Duration::from_millis(500);
