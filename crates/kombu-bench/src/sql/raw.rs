//! sqlx with statements that take many rows, on Kombu's tables: a message that is taken is leased,
//! and deleted when it is acknowledged.

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::file::connect;
use crate::case::Contender;
use crate::redis::envelope;
use crate::sample::Sample;
use crate::work::Work;

/// One transaction for each window.
#[derive(Debug)]
pub(super) struct Publisher;

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let mut connection = connect(&work.url).await?;
        let queue = queue(&mut connection, &work.queue).await?;
        let meter = work.meter();
        let mut left = usize::try_from(work.count)?;
        while left > 0 {
            let size = left.min(work.window);
            store(&mut connection, queue, work, size).await?;
            left -= size;
        }
        let sample = meter.stop(work.count);
        connection.close().await?;
        Ok(sample)
    }
}

/// Takes as many as its prefetch, and acknowledges them together.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let mut connection = connect(&work.url).await?;
        let queue = queue(&mut connection, &work.queue).await?;
        let meter = work.meter();
        let mut left = work.count;
        while left > 0 {
            let most = left.min(u64::from(work.prefetch));
            let rows: Vec<SqliteRow> = sqlx::query(CLAIM)
                .bind("2999-01-01 00:00:00.000000")
                .bind(queue)
                .bind(i64::try_from(most)?)
                .fetch_all(&mut connection)
                .await?;
            ensure!(!rows.is_empty(), "no message came");
            let mut ids = String::from("[");
            for row in &rows {
                let payload: &str = row.try_get(1)?;
                let (body, _tag) = envelope::read(payload.as_bytes())?;
                work.check(&body)?;
                if ids.len() > 1 {
                    ids.push(',');
                }
                ids.push_str(&row.try_get::<i64, _>(0)?.to_string());
            }
            ids.push(']');
            let settled = sqlx::query(SETTLE).bind(ids).execute(&mut connection).await?;
            ensure!(settled.rows_affected() == rows.len() as u64, "a message was lost");
            left -= rows.len() as u64;
        }
        let sample = meter.stop(work.count);
        connection.close().await?;
        Ok(sample)
    }
}

/// The id of a queue.
pub(super) async fn queue(connection: &mut SqliteConnection, name: &str) -> Result<i64> {
    let found = sqlx::query("SELECT id FROM kombu_queue WHERE name = ?")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(found.context("there is no queue")?.try_get(0)?)
}

/// Stores so many messages in one transaction.
pub(super) async fn store(
    connection: &mut SqliteConnection,
    queue: i64,
    work: &Work,
    count: usize,
) -> Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut left = count;
    while left > 0 {
        let size = left.min(250);
        let mut text =
            "INSERT INTO kombu_message (visible, payload, version, queue_id) VALUES ".to_owned();
        text.push_str(&"(1, ?, 1, ?),".repeat(size));
        text.pop();
        let mut insert = sqlx::query(AssertSqlSafe(text));
        for _ in 0..size {
            insert = insert.bind(envelope::write(&work.queue, &work.body.bytes)).bind(queue);
        }
        insert.execute(&mut *transaction).await?;
        left -= size;
    }
    transaction.commit().await?;
    Ok(())
}

const CLAIM: &str = "UPDATE kombu_message SET visible = NULL, timestamp = ?, version = version + 1 \
                     WHERE id IN (SELECT id FROM kombu_message WHERE queue_id = ? AND visible = true \
                     ORDER BY id LIMIT ?) RETURNING id, payload";

const SETTLE: &str =
    "DELETE FROM kombu_message WHERE id IN (SELECT value FROM json_each(?)) AND visible IS NULL";

/// What tables call it.
pub(super) const NAME: &str = "raw sqlx, batched";
