//! What `move` carries over, and what it leaves.

use super::*;

#[tokio::test]
#[cfg(feature = "gzip")]
async fn compressed_bodies_are_read_and_stay_compressed_when_moved() {
    let broker = Broker::new();
    let body = format!("\"{}\"", "a".repeat(1000));
    broker.kombu(&["publish", URL, "--queue", "q", "--compression", "gzip", &body]).await.done();
    broker.kombu(&["move", URL, "q", URL, "p"]).await.done();
    let delivery = broker.connect().await.get("p").await.unwrap().expect("it is there");
    assert!(delivery.message().body.len() < 100);
    delivery.requeue().await.unwrap();
    assert_eq!(broker.bodies("p").await, [json!("a".repeat(1000))]);
}

#[tokio::test]
async fn move_keeps_messages_as_they_are_and_in_order() {
    let broker = Broker::new();
    let mut properties = Properties::new();
    properties.content_type = Some("application/x-unknown".into());
    properties.content_encoding = Some("binary".into());
    properties.headers =
        [("n", Value::Int(1)), ("day", Value::Tagged(Tag::Date, "2020-01-02".into()))]
            .into_iter()
            .collect();
    properties.priority = 4;
    properties.correlation_id = Some("c".to_owned());
    properties.reply_to = Some("r".to_owned());
    let message = Message::new(&b"\x00\xffbody"[..], properties);
    let connection = broker.connect().await;
    let producer = connection.producer().await.unwrap();
    producer.publish_message(message.clone()).to_queue(&Queue::new("q")).await.unwrap();

    let ran = broker.kombu(&["move", URL, "q", URL, "p"]).await;
    assert_eq!(ran.err, "moved 1\n");
    assert_eq!(ran.done(), "");
    let delivery = connection.get("p").await.unwrap().expect("it was moved");
    assert_eq!(delivery.message().body, message.body);
    assert_eq!(delivery.properties().headers, message.properties.headers);
    assert_eq!(delivery.properties().content_type, message.properties.content_type);
    assert_eq!(delivery.properties().content_encoding, message.properties.content_encoding);
    assert_eq!(delivery.properties().priority, 4);
    assert_eq!(delivery.properties().correlation_id.as_deref(), Some("c"));
    assert_eq!(delivery.properties().reply_to.as_deref(), Some("r"));
    delivery.ack().await.unwrap();

    broker.publish("q", 2500).await;
    assert_eq!(broker.kombu(&["move", URL, "q", URL, "p"]).await.err, "moved 2500\n");
    assert_eq!(broker.size("q").await, 0);
    assert_eq!(broker.bodies("p").await, numbers(1..=2500));
}

#[tokio::test]
async fn move_takes_the_count_and_leaves_the_others_untouched() {
    let broker = Broker::new();
    broker.publish("q", 10).await;
    let ran = broker.kombu(&["move", URL, "q", URL, "p", "--count", "4"]).await;
    assert_eq!(ran.err, "moved 4\n");
    assert_eq!(broker.bodies("p").await, numbers(1..=4));
    let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "6"]).await;
    let rest = objects(&ran.done());
    assert_eq!(
        rest.iter().map(|object| object["body"].clone()).collect::<Vec<_>>(),
        numbers(5..=10)
    );
    assert!(rest.iter().all(|object| object["redelivered"] == false));

    broker.publish("q", 2).await;
    let ran = broker.kombu(&["move", URL, "q", "memory://other", "q", "--count", "9"]).await;
    assert_eq!(ran.err, "moved 2\n");
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn move_refuses_a_missing_source_and_the_queue_itself() {
    let broker = Broker::new();
    let ran = broker.kombu(&["move", URL, "q", URL, "p"]).await;
    assert!(ran.failed().contains("not found"), "{}", ran.failed());
    broker.publish("q", 1).await;
    let ran = broker.kombu(&["move", URL, "q", URL, "q"]).await;
    assert!(ran.failed().contains("itself"), "{}", ran.failed());
    assert_eq!(broker.size("q").await, 1);
}

#[tokio::test]
async fn a_message_that_its_target_refuses_stays_at_its_source() {
    let broker = Broker::new();
    broker.publish("q", 5).await;
    let full = Queue::new("p").max_length(2).argument("x-overflow", "reject-publish");
    broker.connect().await.declare_queue(&full).await.unwrap();
    let ran = broker.kombu(&["move", URL, "q", URL, "p"]).await;
    assert!(ran.failed().contains("refused by the broker"), "{}", ran.failed());
    assert_eq!(ran.err, "moved 2\n");
    assert_eq!(broker.bodies("p").await, numbers(1..=2));
    assert_eq!(broker.bodies("q").await, numbers(3..=5));
}
