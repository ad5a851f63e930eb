//! Documents in the collection of messages that others made.

use kombu_conformance::kit::{Outcome, PYTHON, Peer, fill, next, until};
use kombu_conformance::own_cases;
use kombu_core::{ErrorKind, Queue};
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Client, Collection};
use serde_json::json;

use crate::ground::{builder, connect, queue, url};

own_cases! {
    beside what_is_no_message_is_an_error_of_its_own_and_stops_nothing [];
    beside documents_are_kombus [];
    beside with_ttl_python_and_rust_write_the_same_times [PYTHON];
}

/// The documents of messages.
async fn documents() -> Result<Collection<Document>, mongodb::error::Error> {
    let url = url("");
    let client = Client::with_uri_str(&url).await?;
    let database = client.default_database();
    let database = database.unwrap_or_else(|| client.database("kombu_default"));
    Ok(database.collection("messages"))
}

/// Documents without a payload, with another one than a text, with a text that is no message, and
/// with neither priority nor object id.
async fn what_is_no_message_is_an_error_of_its_own_and_stops_nothing() -> Outcome {
    let connection = connect().await?;
    let queue: Queue = queue("corrupt");
    connection.declare_queue(&queue).await?;
    let name = queue.name();
    let own_id = format!("{name}-1");
    documents()
        .await?
        .insert_many([
            doc! { "queue": name, "priority": 0 },
            doc! { "queue": name, "priority": 0, "payload": 7 },
            doc! { "queue": name, "priority": 0, "payload": "{\"body\": " },
            doc! { "_id": &own_id, "queue": name, "payload": "[]" },
        ])
        .await?;
    fill(&connection, &queue, [1, 2]).await?;
    let mut consumer = connection.consumer(&queue).prefetch(10).start().await?;
    let (mut broken, mut came) = (0, Vec::new());
    for _ in 0..6 {
        let delivery = next(&mut consumer).await?;
        match delivery.decode::<u64>() {
            Ok(number) => {
                came.push(number);
                delivery.ack_confirmed().await?;
            }
            Err(error) => {
                let known = [ErrorKind::ContentDisallowed, ErrorKind::Decode];
                assert!(known.contains(&error.kind()), "{error}");
                broken += 1;
                delivery.reject().await?;
            }
        }
    }
    assert_eq!((broken, came), (4, vec![1, 2]));
    consumer.close().await?;
    // They are gone, and nothing comes again.
    assert_eq!(connection.size(name).await?, 0);
    assert!(connection.get(name).await?.is_none());
    let left = documents().await?.count_documents(doc! { "claim.queue": name }).await?;
    assert_eq!(left, 0);
    connection.delete_queue(name).await?;
    Ok(connection.close().await?)
}

/// What is published has the fields that Kombu reads, and what is held has no queue.
async fn documents_are_kombus() -> Outcome {
    let connection = connect().await?;
    let queue: Queue = queue("fields");
    let producer = connection.producer().await?;
    producer.publish(&1).to_queue(&queue).priority(3).await?;
    let documents = documents().await?;
    let stored = documents.find_one(doc! { "queue": queue.name() }).await?.ok_or("no document")?;
    assert_eq!(stored.get_i32("priority")?, 6);
    assert!(stored.get_object_id("_id").is_ok());
    assert!(stored.get_str("payload")?.starts_with('{'));
    assert_eq!(stored.len(), 4, "{stored}");
    let held = connection.get(queue.name()).await?.ok_or("no message")?;
    let filter = doc! { "_id": stored.get_object_id("_id")? };
    let taken = documents.find_one(filter.clone()).await?.ok_or("no document")?;
    assert_eq!(taken.get("queue"), Some(&Bson::Null), "{taken}");
    assert_eq!(taken.get_document("claim")?.get_str("queue")?, queue.name());
    held.ack_confirmed().await?;
    assert!(documents.find_one(filter).await?.is_none());
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// Kombu writes and reads the times only with its option.
async fn with_ttl_python_and_rust_write_the_same_times() -> Outcome {
    let connection = builder(&url("ttl=true")).connect().await?;
    let mut python = Peer::start(&url(""), &["ttl=true"])?;
    let queue: Queue = queue("ttl");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let an_hour = std::time::Duration::from_secs(3600);
    producer.publish(&1).to_queue(&queue).expires(an_hour).await?;
    producer.publish(&2).to_queue(&queue).await?;
    for (body, expiration) in [(3, json!(3600)), (4, json!(null)), (5, json!(0.001))] {
        let key = queue.name();
        let message = json!({ "body": body, "routing_key": key, "expiration": expiration });
        python.ask("publish", message).await?;
    }
    let documents = documents().await?;
    let times = async |filter: Document| {
        let mut cursor = documents.find(filter).sort(doc! { "_id": 1 }).await?;
        let mut times = Vec::new();
        while cursor.advance().await? {
            times.push(cursor.deserialize_current()?.get("expire_at").cloned());
        }
        Ok::<_, mongodb::error::Error>(times)
    };
    let stored = times(doc! { "queue": queue.name() }).await?;
    assert!(
        matches!(
            stored[..],
            [
                Some(Bson::DateTime(_)),
                Some(Bson::Null),
                Some(Bson::DateTime(_)),
                Some(Bson::Null),
                Some(Bson::DateTime(_)),
            ]
        ),
        "{stored:?}"
    );
    // The last one is over at once: none but the server would keep it from Python.
    until("a message to expire", async || {
        connection.size(queue.name()).await.is_ok_and(|n| n == 4)
    })
    .await;
    assert_eq!(python.consume(queue.name(), 2, "ack", 20.0).await?, [json!(1), json!(2)]);
    let mut consumer = connection.consumer(&queue).start().await?;
    assert_eq!(kombu_conformance::kit::numbers(&mut consumer, 2).await?, [3, 4]);
    consumer.close().await?;
    assert!(connection.get(queue.name()).await?.is_none(), "it is over");
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
