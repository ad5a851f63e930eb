//! What `consume` writes, settles and gives back.

use super::*;

#[tokio::test]
async fn values_that_json_lacks_keep_kombus_tags() {
    let broker = Broker::new();
    let date = "{\"__type__\":\"date\",\"__value__\":\"2020-01-02\"}";
    let header = format!("day={date}");
    broker.kombu(&["publish", URL, "--queue", "q", "--header", &header, date]).await.done();
    let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "1"]).await;
    let object = &objects(&ran.done())[0];
    let tagged: JsonValue = serde_json::from_str(date).unwrap();
    assert_eq!(object["body"], tagged);
    assert_eq!(object["headers"]["day"], tagged);
}

#[tokio::test]
async fn poison_is_written_and_does_not_end_the_consumer() {
    let broker = Broker::new();
    let connection = broker.connect().await;
    let queue = Queue::new("q");
    let producer = connection.producer().await.unwrap();
    let raw = |body: &'static str, kind: &'static str| {
        producer.publish_raw(body.as_bytes(), kind, "utf-8").to_queue(&queue)
    };
    raw("{broken", "application/json").await.unwrap();
    raw("a: 1", "application/x-yaml").await.unwrap();
    raw("data", "text/plain").header("compression", "application/x-lost").await.unwrap();
    raw("1", "application/json").header("late", Value::Timestamp(i64::MAX)).await.unwrap();
    raw("2", "application/json").await.unwrap();

    let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "5"]).await;
    let objects = objects(&ran.done());
    for (object, (error, raw)) in objects.iter().zip([
        ("cannot decode", "e2Jyb2tlbg=="),
        ("content type not accepted", "YTogMQ=="),
        ("application/x-lost", "ZGF0YQ=="),
        ("cannot write headers", "MQ=="),
    ]) {
        assert!(object.get("body").is_none(), "{object}");
        assert!(object["error"].as_str().unwrap().contains(error), "{object}");
        assert_eq!(object["raw"], raw);
    }
    assert_eq!(objects[4]["body"], 2);
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn accept_says_which_bodies_are_read() {
    let broker = Broker::new();
    let text = ["publish", URL, "--queue", "q", "--serializer", "text", "hello"];
    broker.kombu(&text).await.done();
    let consume = ["consume", URL, "--queue", "q", "--count", "1", "--accept", "json,raw"];
    let object = &objects(&broker.kombu(&consume).await.done())[0];
    assert!(object["error"].as_str().unwrap().contains("accept list"), "{object}");

    let unknown = broker.kombu(&["consume", URL, "--queue", "q", "--accept", "jsno"]).await;
    assert!(unknown.failed().contains("\"json\"?"), "{}", unknown.failed());
}

#[tokio::test]
async fn format_body_writes_the_bytes_even_those_it_cannot_read() {
    let broker = Broker::new();
    let raw = ["publish", URL, "--queue", "q", "--serializer", "raw"];
    broker.kombu_with(&raw, Cursor::new(b"\xff\x00\xfe")).await.done();
    let queue = Queue::new("q");
    let producer = broker.connect().await.producer().await.unwrap();
    let lost = producer.publish_raw("x", "text/plain", "utf-8").to_queue(&queue);
    lost.header("compression", "application/x-lost").await.unwrap();
    broker.kombu(&["publish", URL, "--queue", "q", "{\"a\":  1}"]).await.done();

    let consume = ["consume", URL, "--queue", "q", "--count", "3", "--format", "body"];
    let ran = broker.kombu(&consume).await;
    assert!(ran.err.contains("the body is written as it came"), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1);
    assert_eq!(ran.outcome.as_ref().ok(), Some(&End::Done));
    assert_eq!(ran.out, b"\xff\x00\xfe\nx\n{\"a\":  1}\n");
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn a_count_takes_that_many_and_leaves_the_others_untouched() {
    let broker = Broker::new();
    for (settling, left) in [("--ack", 8), ("--no-ack", 6), ("--reject", 4)] {
        broker.kombu(&["delete", URL, "q"]).await.done();
        broker.publish("q", 10).await;
        for count in [1, 9 - left] {
            let count = count.to_string();
            let ran =
                broker.kombu(&["consume", URL, "--queue", "q", "--count", &count, settling]).await;
            ran.done();
        }
        assert_eq!(broker.size("q").await, left);
        let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "1"]).await;
        let object = &objects(&ran.done())[0];
        assert_eq!(object["body"], 11 - left);
        assert_eq!(object["redelivered"], false, "{settling} fetched more than its count");
    }
}

#[tokio::test]
async fn requeue_shows_each_message_once_and_leaves_the_queue_as_it_was() {
    let broker = Broker::new();
    broker.publish("q", 5).await;
    let look = ["consume", URL, "--queue", "q", "--requeue"];
    let all = broker.kombu(&[&look[..], &["--timeout", "0.3"]].concat()).await;
    let all = objects(&all.ended(End::TimedOut));
    assert_eq!(all.iter().map(|object| object["body"].clone()).collect::<Vec<_>>(), numbers(1..=5));
    let some = broker.kombu(&[&look[..], &["--count", "2", "--prefetch", "1"]].concat()).await;
    let some = objects(&some.done());
    assert_eq!(
        some.iter().map(|object| object["body"].clone()).collect::<Vec<_>>(),
        numbers(1..=2)
    );
    assert_eq!(some[0]["redelivered"], true);
    assert_eq!(broker.size("q").await, 5);
    assert_eq!(broker.bodies("q").await, numbers(1..=5));
}

#[tokio::test]
async fn several_queues_are_consumed_together() {
    let broker = Broker::new();
    broker.publish("a", 3).await;
    broker.publish("b", 3).await;
    let consume = ["consume", URL, "--queue", "a", "--queue", "b", "--queue", "c", "--count", "6"];
    let objects = objects(&broker.kombu(&consume).await.done());
    for queue in ["a", "b"] {
        assert_eq!(objects.iter().filter(|object| object["queue"] == queue).count(), 3);
    }
    assert_eq!(broker.size("c").await, 0);
}

#[tokio::test]
async fn a_timeout_ends_a_consumer_that_waits() {
    let broker = Broker::new();
    broker.publish("q", 1).await;
    let consume = ["consume", URL, "--queue", "q", "--count", "2", "--timeout", "0.3"];
    assert_eq!(objects(&broker.kombu(&consume).await.ended(End::TimedOut)).len(), 1);
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn an_interrupt_gives_back_what_was_not_written() {
    for (settling, left) in [("--ack", 7), ("--requeue", 10), ("--reject", 7)] {
        let broker = Broker::new();
        broker.publish("q", 10).await;
        let (wish, interrupt) = Interrupt::pair();
        let text = Text::default();
        let then = move || {
            wish.send_replace(true);
            Ok(())
        };
        let out = Lines { left: 2, text: text.clone(), then };
        let consume = ["consume", URL, "--queue", "q", settling];
        let ran = broker.run(&consume, io::empty(), Box::new(out), interrupt, &text).await;
        assert_eq!(objects(&ran.ended(End::Interrupted)).len(), 3, "{settling}");
        assert_eq!(broker.size("q").await, left);
        assert_eq!(broker.bodies("q").await, numbers(11 - left..=10), "{settling}");
    }
}

#[tokio::test]
async fn a_closed_output_gives_back_what_was_not_written_and_says_nothing() {
    let broker = Broker::new();
    broker.publish("q", 10).await;
    let (_wish, interrupt) = Interrupt::pair();
    let text = Text::default();
    let then = || Err(io::Error::from(ErrorKind::BrokenPipe));
    let out = Lines { left: 4, text: text.clone(), then };
    let consume = ["consume", URL, "--queue", "q"];
    let ran = broker.run(&consume, io::empty(), Box::new(out), interrupt, &text).await;
    assert!(matches!(ran.outcome, Err(Stop::OutputClosed)), "{:?}", ran.outcome);
    assert_eq!(ran.err, "");
    assert_eq!(objects(&String::from_utf8(ran.out).unwrap()).len(), 4);
    assert_eq!(broker.bodies("q").await, numbers(5..=10));
}

#[tokio::test]
async fn an_interrupt_without_acknowledgements_still_writes_all_that_came() {
    let broker = Broker::new();
    broker.publish("q", 300).await;
    let (wish, interrupt) = Interrupt::pair();
    let text = Text::default();
    let then = move || {
        wish.send_replace(true);
        Ok(())
    };
    let out = Lines { left: 1, text: text.clone(), then };
    let consume = ["consume", URL, "--queue", "q", "--no-ack"];
    let ran = broker.run(&consume, io::empty(), Box::new(out), interrupt, &text).await;
    let mut bodies: Vec<_> =
        objects(&ran.ended(End::Interrupted)).iter().map(|object| object["body"].clone()).collect();
    bodies.extend(broker.bodies("q").await);
    assert_eq!(bodies, numbers(1..=300));
}
