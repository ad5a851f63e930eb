//! Several commands in one process, on a memory broker of the test's own.

use std::io::{self, BufReader, Cursor, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use kombu::transport::TransportRegistry;
use kombu::transports::memory::MemoryTransport;
use kombu::{Connection, Message, Properties, Queue, Tag, Value};
use serde_json::{Value as JsonValue, json};
use tokio::time::timeout;

use crate::cli::Cli;
use crate::commands;
use crate::end::{End, Outcome, Stop};
use crate::interrupt::Interrupt;
use crate::session::Session;

const URL: &str = "memory://";

/// What became of a command.
#[derive(Debug)]
struct Ran {
    outcome: Outcome,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    /// The output of a command that ended so.
    fn ended(self, end: End) -> String {
        assert_eq!(self.outcome.ok(), Some(end), "{}", self.err);
        String::from_utf8(self.out).expect("it prints UTF-8")
    }

    fn done(self) -> String {
        self.ended(End::Done)
    }

    /// The line of a command that failed.
    fn failed(&self) -> &str {
        match &self.outcome {
            Err(Stop::Failed(line)) => line,
            other => panic!("it ended with {other:?}"),
        }
    }
}

/// A text that a command writes.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that takes some lines, and then does something, or fails.
struct Lines<F> {
    left: usize,
    text: Text,
    then: F,
}

impl<F: FnMut() -> io::Result<()>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            (self.then)()?;
        } else {
            self.left -= 1;
        }
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broker(TransportRegistry);

impl Broker {
    fn new() -> Self {
        Self(TransportRegistry::new().with(MemoryTransport::new()))
    }

    async fn kombu(&self, arguments: &[&str]) -> Ran {
        self.kombu_with(arguments, io::empty()).await
    }

    async fn kombu_with(&self, arguments: &[&str], input: impl Read + Send + 'static) -> Ran {
        let (_wish, interrupt) = Interrupt::pair();
        let out = Text::default();
        self.run(arguments, input, Box::new(out.clone()), interrupt, &out).await
    }

    async fn run(
        &self,
        arguments: &[&str],
        input: impl Read + Send + 'static,
        writer: Box<dyn Write>,
        interrupt: Interrupt,
        out: &Text,
    ) -> Ran {
        let all = ["kombu"].iter().chain(arguments);
        let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
        let err = Text::default();
        let mut session = Session {
            registry: self.0.clone(),
            interrupt,
            input: Some(Box::new(BufReader::new(input))),
            out: writer,
            err: Box::new(err.clone()),
            watched: false,
        };
        let run = commands::run(cli.command, &mut session);
        let outcome = timeout(Duration::from_secs(30), run).await.expect("it ends");
        Ran { outcome, out: out.take(), err: String::from_utf8(err.take()).expect("UTF-8") }
    }

    async fn connect(&self) -> Connection {
        Connection::builder(URL).registry(self.0.clone()).connect().await.expect("it connects")
    }

    /// Publishes numbers from 1 on.
    async fn publish(&self, queue: &str, count: u64) {
        let lines: String = (1..=count).map(|number| format!("{number}\n")).collect();
        let publish = ["publish", URL, "--queue", queue, "--lines"];
        let ran = self.kombu_with(&publish, Cursor::new(lines)).await;
        assert_eq!(ran.err, format!("published {count}\n"));
        ran.done();
    }

    async fn size(&self, queue: &str) -> u64 {
        self.kombu(&["size", URL, queue]).await.done().trim_end().parse().expect("a number")
    }

    /// Takes all that waits, and returns the bodies.
    async fn bodies(&self, queue: &str) -> Vec<JsonValue> {
        let count = self.size(queue).await;
        if count == 0 {
            return Vec::new();
        }
        let count = count.to_string();
        let ran = self.kombu(&["consume", URL, "--queue", queue, "--count", &count]).await;
        objects(&ran.done()).iter().map(|object| object["body"].clone()).collect()
    }
}

fn objects(lines: &str) -> Vec<JsonValue> {
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<JsonValue> {
    range.map(JsonValue::from).collect()
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
async fn purge_and_delete_print_how_many_went() {
    let broker = Broker::new();
    broker.publish("q", 3).await;
    assert_eq!(broker.kombu(&["purge", URL, "q"]).await.done(), "3\n");
    assert_eq!(broker.size("q").await, 0);
    broker.publish("q", 2).await;
    assert_eq!(broker.kombu(&["delete", URL, "q"]).await.done(), "2\n");
    assert_eq!(broker.kombu(&["delete", URL, "q"]).await.done(), "0\n");
    for command in ["size", "purge"] {
        let ran = broker.kombu(&[command, URL, "q"]).await;
        assert!(ran.failed().contains("not found"), "{}", ran.failed());
        assert!(ran.failed().contains("queue=q"), "{}", ran.failed());
    }
}

#[tokio::test]
async fn ping_prints_the_broker() {
    let broker = Broker::new();
    let ran = broker.kombu(&["ping", "memory://user:hunter2@host"]).await;
    let line = ran.done();
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains(" at memory://user:**@host answered in "), "{line}");
}

#[tokio::test]
async fn options_reach_the_transport() {
    let broker = Broker::new();
    let ran = broker.kombu(&["ping", URL, "--option", "no_such_option=1"]).await;
    assert!(ran.failed().contains("no_such_option"), "{}", ran.failed());
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

#[tokio::test]
async fn an_interrupt_before_all_ends_a_command() {
    let broker = Broker::new();
    for arguments in [
        &["size", URL, "q"][..],
        &["ping", URL][..],
        &["consume", URL, "--queue", "q"][..],
        &["publish", URL, "--queue", "q", "1"][..],
        &["move", URL, "q", URL, "p"][..],
    ] {
        let (wish, interrupt) = Interrupt::pair();
        wish.send_replace(true);
        let out = Text::default();
        let ran = broker.run(arguments, io::empty(), Box::new(out.clone()), interrupt, &out).await;
        assert!(matches!(ran.outcome, Err(Stop::Interrupted)), "{arguments:?}: {ran:?}");
    }
}

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
