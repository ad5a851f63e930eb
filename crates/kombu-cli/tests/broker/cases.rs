//! What the command must do on every broker.

use kombu::BrokerUrls;
use rustix::process::Signal;
use serde_json::json;

use crate::command::{Broker, ended, expect_bodies, objects, text};

/// A case, and the capabilities that it needs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [&'static str],
    pub(crate) run: fn(&Broker),
}

/// A need that is no capability: the broker's URL has a password.
pub(crate) const PASSWORD: &str = "a password in the URL";

macro_rules! cases {
    ($($name:ident $([$($needs:expr),+])?),+ $(,)?) => {
        pub(crate) const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            needs: &[$($($needs),+)?],
            run: $name,
        }),+];
    };
}

cases! {
    a_closed_output_loses_nothing ["at_least_once"],
    a_message_comes_as_it_was_published ["message_expiration"],
    a_wrong_password_is_said_and_not_shown [PASSWORD],
    a_timeout_ends_with_3,
    an_interrupt_ends_with_130_and_loses_nothing ["at_least_once"],
    an_interrupt_ends_publishing_lines,
    mandatory_tells_of_unroutable_messages ["mandatory"],
    messages_are_moved_as_they_are ["at_least_once"],
    ping_names_the_broker,
    purge_and_delete_say_how_many,
    requests_are_answered,
    rejected_messages_are_gone_and_requeued_ones_stay ["at_least_once", "redelivered"],
    ten_thousand_lines_keep_their_order,
    top_counts_what_waits,
    topics_reach_the_queues_bound_to_them ["topic"],
    two_queues_are_consumed_together,
    without_acknowledgements_all_is_written,
}

fn a_message_comes_as_it_was_published(broker: &Broker) {
    let queue = broker.queue("q");
    let output = broker.run(
        "publish",
        &[
            "--queue",
            &queue,
            "--header",
            "trace=abc",
            "--header",
            "n=5000000000",
            "--priority",
            "3",
            "--expires",
            "600",
            "{\"name\": \"cats\"}",
        ],
    );
    assert_eq!(text(&output.stderr), "published 1\n");
    assert_eq!(ended(&output, 0), "");
    broker.wait_for_size(&queue, 1);
    let message = &broker.take(&queue, 1)[0];
    assert_eq!(message["body"], json!({"name": "cats"}));
    assert_eq!(message["content_type"], "application/json");
    assert_eq!(message["content_encoding"], "utf-8");
    assert_eq!(message["headers"], json!({"trace": "abc", "n": 5_000_000_000_u64}));
    assert_eq!(message["properties"]["priority"], 3);
    assert_eq!(message["properties"]["expiration"], "600000");
    assert_eq!(message["exchange"], "");
    assert_eq!(message["routing_key"], json!(queue));
    assert_eq!(message["queue"], json!(queue));
    assert_eq!(message["redelivered"], false);
    broker.wait_for_size(&queue, 0);

    let output = broker.run_with(
        "publish",
        &["--queue", &queue, "--serializer", "text"],
        "h\u{e9}llo\n".to_owned(),
    );
    ended(&output, 0);
    let consume = ["--queue", &queue, "--count", "1", "--timeout", "30", "--format", "body"];
    assert_eq!(broker.done("consume", &consume), "h\u{e9}llo\n\n");
}

fn ten_thousand_lines_keep_their_order(broker: &Broker) {
    let queue = broker.queue("q");
    broker.publish_numbers(&queue, 10_000);
    broker.wait_for_size(&queue, 10_000);
    expect_bodies(&broker.take(&queue, 10_000), 1..=10_000);
    broker.wait_for_size(&queue, 0);
}

fn rejected_messages_are_gone_and_requeued_ones_stay(broker: &Broker) {
    let queue = broker.queue("q");
    broker.publish_numbers(&queue, 5);
    let look = ["--queue", &queue, "--requeue", "--timeout", "30", "--count", "3"];
    expect_bodies(&objects(&broker.done("consume", &look)), 1..=3);
    broker.wait_for_size(&queue, 5);
    let messages = broker.take(&queue, 2);
    expect_bodies(&messages, 1..=2);
    assert!(messages.iter().all(|message| message["redelivered"] == true));
    let reject = ["--queue", &queue, "--reject", "--timeout", "30", "--count", "2"];
    expect_bodies(&objects(&broker.done("consume", &reject)), 3..=4);
    broker.wait_for_size(&queue, 1);
    let last = broker.take(&queue, 1);
    expect_bodies(&last, 5..=5);
    assert_eq!(last[0]["redelivered"], false, "more was fetched than was asked for");
}

fn without_acknowledgements_all_is_written(broker: &Broker) {
    let queue = broker.queue("q");
    broker.publish_numbers(&queue, 500);
    let some = ["--queue", &queue, "--no-ack", "--timeout", "30", "--count", "10"];
    let some = objects(&broker.done("consume", &some));
    expect_bodies(&some, 1..=10);
    broker.wait_for_size(&queue, 490);

    let mut consumer = broker.start("consume", &["--queue", &queue, "--no-ack"]);
    let mut lines = consumer.lines();
    let mut seen = vec![lines.next()];
    consumer.signal(Signal::INT);
    seen.extend(lines.rest());
    let (status, err) = consumer.end();
    assert_eq!((status.code(), err.as_str()), (Some(130), ""));
    seen.extend(broker.take(&queue, broker.size(&queue)));
    expect_bodies(&seen, 11..=500);
}

fn a_timeout_ends_with_3(broker: &Broker) {
    let queue = broker.queue("q");
    broker.publish_numbers(&queue, 1);
    let output = broker.run("consume", &["--queue", &queue, "--count", "2", "--timeout", "2"]);
    expect_bodies(&objects(&ended(&output, 3)), 1..=1);
    assert_eq!(text(&output.stderr), "");
    broker.wait_for_size(&queue, 0);
}

fn an_interrupt_ends_with_130_and_loses_nothing(broker: &Broker) {
    for signal in [Signal::INT, Signal::TERM] {
        let queue = broker.queue(&format!("{signal:?}"));
        broker.publish_numbers(&queue, 500);
        let mut consumer = broker.start("consume", &["--queue", &queue]);
        let mut lines = consumer.lines();
        let mut seen: Vec<_> = (0..50).map(|_| lines.next()).collect();
        consumer.signal(signal);
        seen.extend(lines.rest());
        let (status, err) = consumer.end();
        assert_eq!((status.code(), err.as_str()), (Some(130), ""));
        assert!(seen.len() < 500, "the interrupt came too late to show anything");
        let left = 500 - seen.len() as u64;
        broker.wait_for_size(&queue, left);
        seen.extend(broker.take(&queue, left));
        expect_bodies(&seen, 1..=500);
    }
}

fn an_interrupt_ends_publishing_lines(broker: &Broker) {
    let queue = broker.queue("q");
    let mut publisher = broker.start("publish", &["--queue", &queue, "--lines"]);
    publisher.write("1\n2\n3\n");
    // Its input stays open, so it waits: what it has is published all the same.
    while broker.run("size", &[&queue]).stdout != b"3\n" {}
    publisher.signal(Signal::INT);
    let (status, err) = publisher.end();
    assert_eq!((status.code(), err.as_str()), (Some(130), "published 3\n"));
}

fn a_closed_output_loses_nothing(broker: &Broker) {
    let queue = broker.queue("q");
    // A line is longer than what a pipe holds.
    let body = "a".repeat(200_000);
    let lines = (0..5).map(|_| format!("\"{body}\"\n")).collect();
    ended(&broker.run_with("publish", &["--queue", &queue, "--lines"], lines), 0);
    let mut consumer = broker.start("consume", &["--queue", &queue]);
    let mut lines = consumer.lines();
    assert_eq!(lines.next()["body"], json!(body));
    drop(lines);
    let (status, err) = consumer.end();
    assert_eq!((status.code(), err.as_str()), (Some(1), ""));
    broker.wait_for_size(&queue, 4);
}

fn messages_are_moved_as_they_are(broker: &Broker) {
    let (from, to) = (broker.queue("from"), broker.queue("to"));
    let publish = [
        "--queue",
        &from,
        "--header",
        "day={\"__type__\": \"date\", \"__value__\": \"2020-01-02\"}",
    ];
    ended(&broker.run("publish", &[&publish[..], &["--priority", "3", "0"]].concat()), 0);
    broker.publish_numbers(&from, 1000);
    broker.wait_for_size(&from, 1001);
    let some = broker.run("move", &[&from, &broker.url, &to, "--count", "11"]);
    assert_eq!((some.status.code(), text(&some.stderr)), (Some(0), "moved 11\n"));
    broker.wait_for_size(&from, 990);
    let rest = broker.run("move", &[&from, &broker.url, &to]);
    assert_eq!((rest.status.code(), text(&rest.stderr)), (Some(0), "moved 990\n"));
    broker.wait_for_size(&from, 0);
    // Where a broker serves by priority without being asked to, the first one may come last.
    let (mut moved, rest): (Vec<_>, Vec<_>) = broker
        .take(&to, 1001)
        .into_iter()
        .partition(|message| message["properties"]["priority"] == 3);
    moved.extend(rest);
    expect_bodies(&moved, 0..=1000);
    assert_eq!(moved[0]["properties"]["priority"], 3);
    assert_eq!(moved[0]["content_type"], "application/json");
    assert!(!moved[0]["headers"]["day"].is_null());
    assert!(moved.iter().all(|message| message["redelivered"] == false));
}

fn two_queues_are_consumed_together(broker: &Broker) {
    let (one, two) = (broker.queue("one"), broker.queue("two"));
    broker.publish_numbers(&one, 20);
    broker.publish_numbers(&two, 20);
    let consume = ["--queue", &one, "--queue", &two, "--count", "40", "--timeout", "30"];
    let messages = objects(&broker.done("consume", &consume));
    for queue in [&one, &two] {
        let own: Vec<_> =
            messages.iter().filter(|message| message["queue"] == json!(queue)).cloned().collect();
        expect_bodies(&own, 1..=20);
        broker.wait_for_size(queue, 0);
    }
}

fn topics_reach_the_queues_bound_to_them(broker: &Broker) {
    let (exchange, hd, all) = (broker.exchange("media"), broker.queue("hd"), broker.queue("all"));
    let subscribe = [
        "--queue",
        &all,
        "--exchange",
        &exchange,
        "--type",
        "topic",
        "--routing-key",
        "video.#",
        "--timeout",
        "1",
    ];
    assert_eq!(ended(&broker.run("consume", &subscribe), 3), "");
    let publish = ["--exchange", &exchange, "--type", "topic", "--routing-key"];
    broker.done("publish", &[&publish[..], &["video.hd", "--bind", &hd, "1"]].concat());
    broker.done("publish", &[&publish[..], &["video.sd", "2"]].concat());
    broker.done("publish", &["--exchange", &exchange, "--routing-key", "audio", "3"]);
    broker.wait_for_size(&hd, 1);
    broker.wait_for_size(&all, 2);
    let message = &broker.take(&hd, 1)[0];
    assert_eq!(message["exchange"], json!(exchange));
    assert_eq!(message["routing_key"], "video.hd");
    expect_bodies(&broker.take(&all, 2), 1..=2);

    let other = broker.run("publish", &["--exchange", &exchange, "--type", "fanout", "4"]);
    let line = text(&other.stderr);
    assert!(line.contains("precondition failed"), "{line}");
    assert_eq!(ended(&other, 1), "");
}

fn mandatory_tells_of_unroutable_messages(broker: &Broker) {
    let exchange = broker.exchange("nowhere");
    broker.done("publish", &["--exchange", &exchange, "--routing-key", "x", "1"]);
    let refused =
        broker.run("publish", &["--exchange", &exchange, "--routing-key", "x", "--mandatory", "1"]);
    let lines = text(&refused.stderr);
    assert!(lines.starts_with("published 0\nkombu: cannot publish: unroutable"), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    ended(&refused, 1);
}

fn purge_and_delete_say_how_many(broker: &Broker) {
    let queue = broker.queue("q");
    broker.publish_numbers(&queue, 3);
    broker.wait_for_size(&queue, 3);
    assert_eq!(broker.done("purge", &[&queue]), "3\n");
    assert_eq!(broker.done("delete", &[&queue]), "0\n");
}

fn requests_are_answered(broker: &Broker) {
    let queue = broker.queue("requests");
    // A queue that is there.
    broker.publish_numbers(&queue, 1);
    broker.done("purge", &[&queue]);
    let timed_out = broker.run("rpc", &[&queue, "--timeout", "1", "0"]);
    assert!(text(&timed_out.stderr).contains("no reply within 1s"), "{timed_out:?}");
    assert_eq!(ended(&timed_out, 3), "");
    // What answers is the command itself: it takes a request, and publishes to its reply queue.
    let mut rpc = broker.start("rpc", &[&queue, "--timeout", "30", "{\"n\": 7}"]);
    let mut lines = rpc.lines();
    let request = loop {
        let request = broker.take(&queue, 1).remove(0);
        // Where messages do not expire, the first one is there still.
        if request["body"] == json!({"n": 7}) {
            break request;
        }
    };
    let property = |name: &str| request["properties"][name].as_str().expect("it is set").to_owned();
    let reply_to = property("reply_to");
    let reply = kombu_reply(&broker.url, &reply_to, &property("correlation_id"));
    assert_eq!(reply, Ok(()));
    assert_eq!(lines.next(), json!({"answer": 8}));
    let (status, err) = rpc.end();
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
    let gone = broker.run("size", &[&reply_to]);
    assert!(text(&gone.stderr).contains("not found"), "the reply queue is left: {gone:?}");
}

/// Answers a request as a server does.
fn kombu_reply(url: &str, reply_to: &str, correlation_id: &str) -> Result<(), String> {
    let connection = kombu::blocking::connect(url).map_err(|error| error.to_string())?;
    let producer = connection.producer().map_err(|error| error.to_string())?;
    let answer = producer
        .with(|producer| producer.serializer("json"))
        .publish(&std::collections::BTreeMap::from([("answer", 8)]), |reply| {
            reply.to("", reply_to).correlation_id(correlation_id)
        });
    answer.and_then(|()| connection.close()).map_err(|error| error.to_string())
}

fn top_counts_what_waits(broker: &Broker) {
    let (queue, none) = (broker.queue("q"), broker.queue("none"));
    broker.publish_numbers(&queue, 20);
    broker.wait_for_size(&queue, 20);
    let top = [&queue, &none, "--once", "--json", "--interval", "0.2"];
    let lines = objects(&broker.done("top", &top));
    assert_eq!((&lines[0]["queue"], &lines[1]["queue"]), (&json!(queue), &json!(none)));
    assert_eq!((&lines[0]["messages"], &lines[0]["rate"]), (&json!(20), &json!(0.0)));
    assert!(lines[1]["messages"].is_null());

    let mut live = broker.start("top", &[&queue, "--json", "--interval", "0.05"]);
    let mut lines = live.lines();
    assert_eq!(lines.next()["messages"], 20);
    broker.done("purge", &[&queue]);
    while lines.next()["messages"] != 0 {}
    live.signal(Signal::INT);
    let (status, err) = live.end();
    assert_eq!((status.code(), err.as_str()), (Some(130), ""));
}

fn ping_names_the_broker(broker: &Broker) {
    let line = broker.done("ping", &[]);
    assert_eq!(line.lines().count(), 1);
    assert!(line.contains("answered in ") && line.trim_end().ends_with(" ms"), "{line}");
    let urls = BrokerUrls::parse(&broker.url).expect("it is one");
    if let Some(password) = urls.first().password() {
        assert!(line.contains(":**@"), "{line}");
        assert!(!line.contains(&format!(":{}@", password.expose())), "{line}");
    }
}

fn a_wrong_password_is_said_and_not_shown(broker: &Broker) {
    let urls = BrokerUrls::parse(&broker.url).expect("it is one");
    let password = urls.first().password().expect("there is one");
    let wrong = broker.url.replacen(&format!(":{}@", password.expose()), ":hunter2@", 1);
    assert_ne!(wrong, broker.url);
    let other = Broker::new(&wrong, "wrong");
    for (subcommand, arguments) in [
        ("ping", &[][..]),
        ("publish", &["--queue", "q", "1"][..]),
        ("consume", &["--queue", "q"][..]),
    ] {
        let output = other.run(subcommand, arguments);
        let line = text(&output.stderr);
        assert!(line.starts_with("kombu: cannot ") && line.contains("access refused"), "{line}");
        assert!(line.lines().count() == 1 && !line.contains("hunter2"), "{line}");
        ended(&output, 1);
    }
}
