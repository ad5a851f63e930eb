//! What is in the tables.

use std::time::Duration;

use kombu_conformance::kit::{Outcome, fill, next, numbers, until};
use kombu_conformance::own_cases;
use kombu_core::{ErrorKind, Queue};

use crate::ground::{builder, connect, queue};
use crate::raw;

own_cases! {
    beside a_row_that_cannot_be_read_is_set_aside [];
    beside settled_rows_are_deleted [];
    beside settled_rows_are_kept_if_asked_for [];
    beside old_settled_rows_are_cleaned_if_asked_for [];
    beside held_rows_are_neither_visible_nor_settled [];
    beside other_tables_are_other_brokers [];
    beside expired_messages_leave_no_rows [];
    beside priorities_come_first_in_a_long_queue [];
}

/// A query about the messages of a queue.
async fn count(
    queue: &Queue,
    which: &str,
) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
    raw::number(&format!(
        "SELECT COUNT(*) FROM kombu_message JOIN kombu_queue ON kombu_queue.id = queue_id \
         WHERE name = '{}' AND {which}",
        queue.name()
    ))
    .await
}

async fn a_row_that_cannot_be_read_is_set_aside() -> Outcome {
    let connection = connect().await?;
    let queue = queue("broken");
    fill(&connection, &queue, 0..3).await?;
    raw::run(&format!(
        "UPDATE kombu_message SET payload = 'no envelope' WHERE queue_id = \
         (SELECT id FROM kombu_queue WHERE name = '{}') AND payload LIKE '%MQ==%'",
        queue.name()
    ))
    .await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(next(&mut consumer).await?.decode::<u64>()?, 0);
    let broken = next(&mut consumer).await?;
    let error = broken.decode::<u64>().expect_err("it has no envelope");
    assert_eq!(error.kind(), ErrorKind::ContentDisallowed, "{error}");
    let why =
        broken.headers().get("x-kombu-broken").and_then(|why| why.as_str().map(str::to_owned));
    assert!(why.as_deref().is_some_and(|why| why.contains("is set aside")), "{why:?}");
    broken.ack().await?;
    // The consumer goes on, and the row never comes again.
    assert_eq!(next(&mut consumer).await?.decode::<u64>()?, 2);
    consumer.close().await?;
    assert_eq!(count(&queue, "visible = false AND payload = 'no envelope'").await?, 1);
    connection.close().await?;
    let connection = connect().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    fill(&connection, &queue, 7..8).await?;
    // 0 and 2 were not acknowledged.
    let mut rest = numbers(&mut consumer, 3).await?;
    rest.sort_unstable();
    assert_eq!(rest, [0, 2, 7]);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn settled_rows_are_deleted() -> Outcome {
    let connection = connect().await?;
    let queue = queue("deleted");
    fill(&connection, &queue, 0..20).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    numbers(&mut consumer, 20).await?;
    assert_eq!(count(&queue, "1 = 1").await?, 0);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn settled_rows_are_kept_if_asked_for() -> Outcome {
    let connection = builder("keep_acked=true").connect().await?;
    let queue = queue("kept");
    fill(&connection, &queue, 0..20).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    numbers(&mut consumer, 20).await?;
    assert_eq!(count(&queue, "visible = false AND timestamp > '2000-01-01'").await?, 20);
    assert_eq!(connection.size(queue.name()).await?, 0);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn old_settled_rows_are_cleaned_if_asked_for() -> Outcome {
    let keeper = builder("keep_acked=true").connect().await?;
    let queue = queue("cleaned");
    fill(&keeper, &queue, 0..2).await?;
    let mut consumer = keeper.consumer(&queue).start().await?;
    numbers(&mut consumer, 2).await?;
    consumer.close().await?;
    raw::run(&format!(
        "UPDATE kombu_message SET timestamp = '2001-01-01 00:00:00' WHERE queue_id = \
         (SELECT id FROM kombu_queue WHERE name = '{}') AND payload LIKE '%MA==%'",
        queue.name()
    ))
    .await?;
    // No other case leaves rows of the last century.
    let cleaner = builder("clean_after=600000000&visibility_timeout=1").connect().await?;
    until("the old row to go", async || count(&queue, "1 = 1").await.is_ok_and(|left| left == 1))
        .await;
    cleaner.close().await?;
    keeper.delete_queue(queue.name()).await?;
    Ok(keeper.close().await?)
}

async fn held_rows_are_neither_visible_nor_settled() -> Outcome {
    let connection = connect().await?;
    let queue = queue("held");
    fill(&connection, &queue, 0..2).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    assert_eq!(count(&queue, "visible IS NULL AND timestamp < '1900-01-01'").await?, 1);
    assert_eq!(count(&queue, "visible = true AND timestamp IS NULL").await?, 1);
    // Longer than its lease: the connection gives signs of life.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(count(&queue, "visible IS NULL").await?, 1);
    held.ack_confirmed().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn other_tables_are_other_brokers() -> Outcome {
    let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let options = format!("queue_tablename={name}_q&message_tablename={name}_m");
    let (usual, other) = (connect().await?, builder(&options).connect().await?);
    let queue = queue("apart");
    fill(&usual, &queue, 0..3).await?;
    fill(&other, &queue, 5..6).await?;
    assert_eq!(usual.size(queue.name()).await?, 3);
    assert_eq!(other.size(queue.name()).await?, 1);
    assert_eq!(raw::number(&format!("SELECT COUNT(*) FROM {name}_m")).await?, 1);
    usual.delete_queue(queue.name()).await?;
    other.close().await?;
    for table in ["m_rank", "m_holder", "q_binding", "q_entity", "m", "q"] {
        raw::run(&format!("DROP TABLE {name}_{table}")).await?;
    }
    Ok(usual.close().await?)
}

async fn expired_messages_leave_no_rows() -> Outcome {
    let connection = connect().await?;
    let queue = queue("expired").message_ttl(Duration::from_millis(50));
    fill(&connection, &queue, 0..10).await?;
    until("expired rows to go", async || {
        count(&queue, "1 = 1").await.is_ok_and(|left| left == 0)
            && raw::number(&format!(
                "SELECT COUNT(*) FROM kombu_message_rank WHERE queue_id = \
                 (SELECT id FROM kombu_queue WHERE name = '{}')",
                queue.name()
            ))
            .await
            .is_ok_and(|left| left == 0)
    })
    .await;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn priorities_come_first_in_a_long_queue() -> Outcome {
    let connection = connect().await?;
    let queue = queue("priorities");
    fill(&connection, &queue, 0..2000).await?;
    let producer = connection.producer().await?;
    for priority in [1_u8, 9, 5] {
        let number = 10_000 + u64::from(priority);
        producer.publish(&number).to_queue(&queue).priority(priority).await?;
    }
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    assert_eq!(numbers(&mut consumer, 5).await?, [10_009, 10_005, 10_001, 0, 1]);
    consumer.close().await?;
    assert_eq!(connection.purge(queue.name()).await?, 1998);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
