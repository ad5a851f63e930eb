//! Mailboxes: who hears a request, and what comes back. On brokers inside the process.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kombu_core::clock::LamportClock;
use kombu_core::mailbox::{Mailbox, Matcher, Reply, Request};
use kombu_core::{Connection, ErrorKind, Result, Table, Value};
use kombu_transport_memory::MemoryTransport;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

async fn connect() -> Connection {
    Connection::builder("memory://").transport(MemoryTransport::new()).connect().await.unwrap()
}

/// Nodes that say what they heard.
async fn nodes(
    mailbox: &Mailbox,
    names: &[&str],
) -> (JoinSet<Result<()>>, mpsc::UnboundedReceiver<String>) {
    let (heard, hears) = mpsc::unbounded_channel();
    let mut nodes = JoinSet::new();
    for name in names {
        let (heard, own) = (heard.clone(), (*name).to_owned());
        let node = mailbox
            .node(*name)
            .on("add", async |request: Request| {
                Ok::<i64, kombu_core::Error>(
                    request.argument::<i64>("a")? + request.argument::<i64>("b")?,
                )
            })
            .on("note", move |request: Request| {
                let heard = heard.send(format!("{own} {}", request.arguments.len()));
                async move { heard }
            })
            .on("panic", async |request: Request| {
                assert_eq!(request.method, "", "on purpose");
                Ok::<_, String>(())
            })
            .on("hang", async |_| {
                pending::<()>().await;
                Ok::<_, String>(())
            });
        nodes.spawn(node.listen().await.unwrap().run(pending()));
    }
    (nodes, hears)
}

fn names(replies: &[Reply]) -> BTreeSet<&str> {
    replies.iter().map(|reply| reply.node.as_str()).collect()
}

async fn heard(hears: &mut mpsc::UnboundedReceiver<String>) -> String {
    timeout(Duration::from_secs(20), hears.recv()).await.unwrap().unwrap()
}

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn requests_reach_those_that_are_meant() {
    let connection = connect().await;
    for mailbox in [Mailbox::new(&connection, "d"), Mailbox::new(&connection, "f").fanout()] {
        let (_nodes, mut hears) = nodes(&mailbox, &["w1", "w2", "x1"]).await;
        let begun = Instant::now();
        let one = mailbox.call(["w2"], "add").argument("a", 1).argument("b", 2).await.unwrap();
        assert_eq!((one[0].node.as_str(), one[0].decode::<i64>().unwrap()), ("w2", 3));
        let two = mailbox.call(["w1", "x1"], "ping").await.unwrap();
        assert_eq!(names(&two), ["w1", "x1"].into());
        let all = mailbox.multi_call("ping").limit(3).await.unwrap();
        assert_eq!(names(&all), ["w1", "w2", "x1"].into());
        assert_eq!(all[0].value, Value::Table(Table::new().with("ok", "pong")));
        let glob = mailbox.multi_call("ping").matching("w*", Matcher::Glob).limit(2);
        assert_eq!(names(&glob.await.unwrap()), ["w1", "w2"].into());
        let regex = mailbox.multi_call("ping").matching(r"\w1$", Matcher::Regex).limit(2);
        assert_eq!(names(&regex.await.unwrap()), ["w1", "x1"].into());
        assert!(begun.elapsed() < Duration::from_secs(1), "limits end calls");

        mailbox.cast(["x1"], "note").argument("a", 1).await.unwrap();
        assert_eq!(heard(&mut hears).await, "x1 1");
        mailbox.abcast("note").matching("w2", Matcher::Glob).await.unwrap();
        assert_eq!(heard(&mut hears).await, "w2 0");
        mailbox.abcast("note").arguments(Table::new().with("a", 1).with("b", 2)).await.unwrap();
        let mut all = BTreeSet::new();
        for _ in 0..3 {
            all.insert(heard(&mut hears).await);
        }
        assert_eq!(all, ["w1 2", "w2 2", "x1 2"].map(str::to_owned).into());
        assert!(hears.try_recv().is_err());
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn failures_are_replies_and_the_node_goes_on() {
    let connection = connect().await;
    let mailbox = Mailbox::new(&connection, "ns");
    let (_nodes, _hears) = nodes(&mailbox, &["one"]).await;
    for (method, words) in [
        ("add", "the argument is missing (method=add argument=a)"),
        ("nothing", "there is no method \"nothing\""),
        ("panic", "the method panicked"),
    ] {
        let replies = mailbox.call(["one"], method).await.unwrap();
        assert!(replies[0].error().unwrap().ends_with(words), "{replies:?}");
        let error = replies[0].decode::<Value>().unwrap_err();
        assert!(error.to_string().contains("node=one"), "{error}");
    }
    let hung = mailbox.call(["one"], "hang").timeout(SHORT).await.unwrap();
    assert!(hung.is_empty());
    let producer = connection.producer().await.unwrap();
    producer.publish_raw("{", "application/json", "utf-8").to("ns.pidbox", "").await.unwrap();
    producer.publish(&"text").to("ns.pidbox", "").await.unwrap();
    assert_eq!(mailbox.call(["one"], "ping").await.unwrap().len(), 1);
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_call_takes_its_time_in_all_and_leaves_nothing_behind() {
    let connection = connect().await;
    let mailbox = Mailbox::new(&connection, "ns");
    let (_nodes, _hears) = nodes(&mailbox, &["one"]).await;
    let begun = Instant::now();
    let replies = mailbox.multi_call("ping").timeout(SHORT).await.unwrap();
    assert_eq!(replies.len(), 1);
    assert!(begun.elapsed() >= SHORT);
    assert!(mailbox.call(["nobody"], "ping").timeout(SHORT).await.unwrap().is_empty());
    let mut replies = mailbox.multi_call("ping").send().await.unwrap();
    let reply = replies.next().await.unwrap().unwrap();
    assert_eq!(reply.node, "one");
    replies.close().await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_name_is_for_one_node_only() {
    let connection = connect().await;
    let broker = MemoryTransport::new();
    let one = Connection::builder("memory://").transport(broker.clone()).connect().await.unwrap();
    let two = Connection::builder("memory://").transport(broker).connect().await.unwrap();
    let _first = Mailbox::new(&one, "ns").node("same").listen().await.unwrap();
    let error = Mailbox::new(&two, "ns").node("same").listen().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceLocked);
    assert!(error.to_string().contains("node_in_use=same"), "{error}");
    for connection in [connection, one, two] {
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn clocks_go_on_together() {
    let connection = connect().await;
    let clock = Arc::new(LamportClock::new());
    clock.adjust(1000);
    let caller = Mailbox::new(&connection, "ns").clock(Arc::clone(&clock));
    let mailbox = Mailbox::new(&connection, "ns");
    let other = Arc::new(LamportClock::new());
    let node = mailbox.clock(Arc::clone(&other)).node("one").listen().await.unwrap();
    let node = tokio::spawn(node.run(pending()));
    caller.call(["one"], "ping").await.unwrap();
    assert!(other.time() > 1001, "{}", other.time());
    assert!(clock.time() > other.time(), "{} {}", clock.time(), other.time());
    node.abort();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn requests_that_are_late_can_be_ignored() {
    let connection = connect().await;
    let mailbox = Mailbox::new(&connection, "ns");
    // Not yet served: the requests wait.
    let strict = mailbox.node("strict").drop_expired(true).listen().await.unwrap();
    let lenient = mailbox.node("lenient").listen().await.unwrap();
    let mut replies =
        mailbox.multi_call("ping").timeout(Duration::from_secs(10)).send().await.unwrap();
    let late = mailbox.multi_call("ping").timeout(Duration::ZERO).await.unwrap();
    assert!(late.is_empty());
    let strict = tokio::spawn(strict.run(pending()));
    let lenient = tokio::spawn(lenient.run(pending()));
    let mut in_time = BTreeSet::new();
    for _ in 0..2 {
        in_time.insert(replies.next().await.unwrap().unwrap().node);
    }
    assert_eq!(in_time, ["lenient", "strict"].map(str::to_owned).into());
    replies.close().await;
    strict.abort();
    lenient.abort();
    connection.close().await.unwrap();
}
