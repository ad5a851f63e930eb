//! What `publish` sends, and what it counts.

use super::*;

/// An input that interrupts after what it has, and then never ends.
struct Endless<F>(Cursor<String>, F);

impl<F: FnMut()> Read for Endless<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if read == 0 {
            self.1();
            loop {
                std::thread::park();
            }
        }
        Ok(read)
    }
}

#[tokio::test]
async fn a_message_is_published_counted_and_consumed() {
    let broker = Broker::new();
    let published = broker
        .kombu(&[
            "publish",
            URL,
            "--queue",
            "q",
            "--header",
            "trace=abc",
            "--header",
            "n=5000000000",
            "--header",
            "deep={\"a\": [1, null]}",
            "--priority",
            "3",
            "--expires",
            "60",
            "{\"name\": \"cats\"}",
        ])
        .await;
    assert_eq!(published.err, "published 1\n");
    assert_eq!(published.done(), "");
    assert_eq!(broker.size("q").await, 1);

    let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "1"]).await;
    assert_eq!(ran.err, "");
    let lines = ran.done();
    assert_eq!(lines.lines().count(), 1);
    let object = &objects(&lines)[0];
    assert_eq!(object["body"], json!({"name": "cats"}));
    assert_eq!(object["content_type"], "application/json");
    assert_eq!(object["content_encoding"], "utf-8");
    assert_eq!(
        object["headers"],
        json!({"trace": "abc", "n": 5_000_000_000_u64, "deep": {"a": [1, null]}})
    );
    assert_eq!(object["properties"]["priority"], 3);
    assert_eq!(object["properties"]["delivery_mode"], 2);
    assert_eq!(object["properties"]["expiration"], "60000");
    assert!(object["properties"].get("correlation_id").is_none());
    assert_eq!(object["exchange"], "");
    assert_eq!(object["routing_key"], "q");
    assert_eq!(object["queue"], "q");
    assert_eq!(object["redelivered"], false);
    assert!(object["delivery_tag"].as_u64().is_some());
    assert!(object.get("error").is_none() && object.get("raw").is_none());
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn bodies_are_written_as_the_serializer_says() {
    let broker = Broker::new();
    for (serializer, input, content_type, encoding, body) in [
        ("json", &b"  [1, {\"b\": 2}]\n"[..], "application/json", "utf-8", json!([1, {"b": 2}])),
        ("json", b"null", "application/json", "utf-8", json!(null)),
        ("text", "h\u{e9}llo\n".as_bytes(), "text/plain", "utf-8", json!("h\u{e9}llo\n")),
        ("raw", b"plain", "application/data", "binary", json!("plain")),
        (
            "raw",
            b"\xff\xfe",
            "application/data",
            "binary",
            json!({"__type__": "base64", "__value__": "//4="}),
        ),
        ("application/json", b"{\"a\": 1}", "application/json", "utf-8", json!({"a": 1})),
    ] {
        let publish = ["publish", URL, "--queue", "q", "--serializer", serializer];
        broker.kombu_with(&publish, Cursor::new(input)).await.done();
        let ran = broker.kombu(&["consume", URL, "--queue", "q", "--count", "1"]).await;
        let object = &objects(&ran.done())[0];
        assert_eq!(object["body"], body, "{serializer}");
        assert_eq!(object["content_type"], content_type, "{serializer}");
        assert_eq!(object["content_encoding"], encoding, "{serializer}");
    }
}

#[tokio::test]
#[cfg(all(
    feature = "brotli",
    feature = "bzip2",
    feature = "gzip",
    feature = "msgpack",
    feature = "pickle",
    feature = "xz",
    feature = "yaml",
    feature = "zstd"
))]
async fn every_serializer_and_compression_is_there() {
    let broker = Broker::new();
    let input = json!({
        "name": "cats", "sizes": [1, -2.5], "none": null,
        "seen": {"__type__": "date", "__value__": "2020-01-02"},
    });
    let undated = json!({"name": "cats", "sizes": [1, -2.5], "none": null});
    for (serializer, content_type, encoding, body) in [
        ("json", "application/json", "utf-8", &input),
        ("msgpack", "application/x-msgpack", "binary", &undated),
        ("pickle", "application/x-python-serialize", "binary", &input),
        ("application/x-yaml", "application/x-yaml", "utf-8", &input),
        ("yaml", "application/x-yaml", "utf-8", &input),
    ] {
        for (compression, header) in [
            ("brotli", "application/x-brotli"),
            ("bzip2", "application/x-bz2"),
            ("gzip", "application/x-gzip"),
            ("lzma", "application/x-lzma"),
            ("zstd", "application/zstd"),
        ] {
            let publish = ["publish", URL, "--queue", "q", "--serializer", serializer];
            let compressed = ["--compression", compression, &body.to_string()];
            broker.kombu(&[&publish[..], &compressed].concat()).await.done();
            let consume = ["consume", URL, "--queue", "q", "--count", "1", "--accept"];
            let accept = "json,msgpack,pickle,yaml";
            let ran = broker.kombu(&[&consume[..], &[accept]].concat()).await;
            let object = &objects(&ran.done())[0];
            assert_eq!(&object["body"], body, "{serializer} {compression}: {object}");
            assert_eq!(object["content_type"], content_type);
            assert_eq!(object["content_encoding"], encoding);
            assert_eq!(object["headers"]["compression"], header);
        }
    }
    // What a serializer has no form for is refused before anything is sent.
    let publish = ["publish", URL, "--queue", "q", "--serializer", "msgpack", &input.to_string()];
    let refused = broker.kombu(&publish).await;
    assert!(refused.failed().contains("MessagePack has no form for it"), "{}", refused.failed());
    assert_eq!(broker.size("q").await, 0);
}

#[tokio::test]
async fn exchanges_route_to_the_queues_that_are_bound() {
    let broker = Broker::new();
    let publish = |routing_key: &'static str, body: &'static str| {
        let broker = &broker;
        async move {
            let arguments = ["publish", URL, "--exchange", "media", "--routing-key", routing_key];
            broker.kombu(&[&arguments[..], &[body]].concat()).await
        }
    };
    let topic = ["publish", URL, "--exchange", "media", "--type", "topic"];
    let bind = ["--routing-key", "video.hd", "--bind", "hd", "--bind", "copy", "1"];
    broker.kombu(&[&topic[..], &bind].concat()).await.done();
    // The exchange is a topic one by now, and stays so without a type.
    publish("video.hd", "2").await.done();
    publish("video.sd", "3").await.done();
    assert_eq!(broker.size("hd").await, 2);
    assert_eq!(broker.size("copy").await, 2);

    let consume = [
        "consume",
        URL,
        "--queue",
        "all",
        "--exchange",
        "media",
        "--type",
        "topic",
        "--routing-key",
        "#",
        "--timeout",
        "0",
    ];
    assert_eq!(broker.kombu(&consume).await.ended(End::TimedOut), "");
    publish("video.sd", "4").await.done();
    assert_eq!(broker.bodies("all").await, [json!(4)]);

    let other = ["publish", URL, "--exchange", "media", "--type", "fanout", "5"];
    let refused = broker.kombu(&other).await;
    assert!(refused.failed().contains("precondition failed"), "{}", refused.failed());
}

#[tokio::test]
async fn mandatory_tells_that_no_queue_took_the_message() {
    let broker = Broker::new();
    let publish = ["publish", URL, "--exchange", "nowhere", "--routing-key", "x"];
    broker.kombu(&[&publish[..], &["1"]].concat()).await.done();
    let refused = broker.kombu(&[&publish[..], &["--mandatory", "1"]].concat()).await;
    assert!(refused.failed().contains("unroutable"), "{}", refused.failed());
    assert_eq!(refused.err, "published 0\n");

    let lines = [&publish[..], &["--mandatory", "--lines"]].concat();
    let refused = broker.kombu_with(&lines, Cursor::new("1\n2\n")).await;
    assert!(refused.failed().contains("line=1"), "{}", refused.failed());
}

#[tokio::test]
async fn a_delayed_message_comes_later() {
    let broker = Broker::new();
    let begun = Instant::now();
    let publish = ["publish", URL, "--queue", "q", "--delay", "0.5", "1"];
    broker.kombu(&publish).await.done();
    assert_eq!(broker.size("q").await, 0);
    let consume = ["consume", URL, "--queue", "q", "--count", "1", "--timeout", "20"];
    broker.kombu(&consume).await.done();
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn lines_keep_their_order_and_a_wrong_one_ends_it() {
    let broker = Broker::new();
    broker.publish("q", 2500).await;
    assert_eq!(broker.bodies("q").await, numbers(1..=2500));

    let lines = ["publish", URL, "--queue", "q", "--lines"];
    let ran = broker.kombu_with(&lines, Cursor::new("1\n\n2\nthree\n4\n")).await;
    assert!(ran.failed().starts_with("line 4 of standard input is not JSON"), "{}", ran.failed());
    assert_eq!(ran.err, "published 2\n");
    assert_eq!(broker.bodies("q").await, numbers(1..=2));
}

#[tokio::test]
async fn a_queue_with_arguments_is_used_as_it_is() {
    let broker = Broker::new();
    broker.connect().await.declare_queue(&Queue::new("q").max_length(2)).await.unwrap();
    broker.publish("q", 3).await;
    assert_eq!(broker.bodies("q").await, numbers(2..=3));
}

#[tokio::test]
async fn an_interrupt_ends_reading_lines_after_what_was_sent_is_confirmed() {
    let broker = Broker::new();
    let (wish, interrupt) = Interrupt::pair();
    let input = Endless(Cursor::new("1\n2\n3\n".to_owned()), move || {
        wish.send_replace(true);
    });
    let out = Text::default();
    let publish = ["publish", URL, "--queue", "q", "--lines"];
    let ran = broker.run(&publish, input, Box::new(out.clone()), interrupt, &out).await;
    let confirmed = ran.err.clone();
    ran.ended(End::Interrupted);
    assert_eq!(confirmed, format!("published {}\n", broker.size("q").await));
}
