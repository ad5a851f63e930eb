//! What `control` asks, and prints.

use kombu::mailbox::{Mailbox, Request};

use super::*;

#[tokio::test]
async fn nodes_are_listed_and_called() {
    let broker = Broker::new();
    let none = ["control", URL, "ping", "--timeout", "0.1"];
    assert_eq!(broker.kombu(&none).await.ended(End::TimedOut), "");

    let connection = broker.connect().await;
    let mailbox = Mailbox::new(&connection, "celery").fanout();
    for name in ["one", "two"] {
        let node = mailbox
            .node(name)
            .on("add", async |request: Request| {
                Ok::<_, kombu::Error>(request.argument::<i64>("a")? + request.argument::<i64>("b")?)
            })
            .listen()
            .await
            .unwrap();
        tokio::spawn(node.run(std::future::pending()));
    }
    let listed = broker.kombu(&["control", URL, "nodes", "--limit", "2"]).await.done();
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["one", "two"]);
    let ping = ["control", URL, "ping", "--node", "two"];
    let pong = "{\"node\":\"two\",\"reply\":{\"ok\":\"pong\"}}\n";
    assert_eq!(broker.kombu(&ping).await.done(), pong);
    let add = ["control", URL, "add", "--argument", "a=1", "--argument", "b=2"];
    let one = [&add[..], &["--pattern", "o*", "--limit", "1"]].concat();
    assert_eq!(broker.kombu(&one).await.done(), "{\"node\":\"one\",\"reply\":3}\n");
    let absent = ["control", URL, "ping", "--node", "two", "--node", "three", "--timeout", "0.2"];
    assert_eq!(broker.kombu(&absent).await.ended(End::TimedOut), pong);
    let cast = ["control", URL, "ping", "--no-reply"];
    assert_eq!(broker.kombu(&cast).await.done(), "");
    let elsewhere = ["control", URL, "ping", "--namespace", "other", "--type", "direct"];
    let elsewhere = [&elsewhere[..], &["--timeout", "0.1"]].concat();
    assert_eq!(broker.kombu(&elsewhere).await.ended(End::TimedOut), "");
}
