//! What `rpc` sends and prints.

use kombu::RpcServer;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A server that adds numbers, and fails when there are none.
async fn adder(broker: &Broker) -> (oneshot::Sender<()>, JoinHandle<kombu::Result<()>>) {
    let connection = broker.connect().await;
    let server: RpcServer = connection.rpc_server("add").concurrency(4).start().await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = server.serve(async { drop(stopped.await) }, |numbers: Vec<i64>| async move {
        if numbers.is_empty() { Err("nothing to add") } else { Ok(numbers.iter().sum::<i64>()) }
    });
    (stop, tokio::spawn(serving))
}

#[tokio::test]
async fn replies_are_printed_in_the_order_of_the_requests() {
    let broker = Broker::new();
    let _server = adder(&broker).await;
    let ran = broker.kombu(&["rpc", URL, "add", "[1, 2]", "[3]", "[4, 5, 6]"]).await;
    assert_eq!(ran.err, "");
    assert_eq!(ran.done(), "3\n3\n15\n");
    let ran = broker.kombu_with(&["rpc", URL, "add"], Cursor::new("[7, 8]\n")).await;
    assert_eq!(ran.done(), "15\n");

    let json = ["rpc", URL, "add", "--format", "json", "--header", "trace=x", "[1]"];
    let object = &objects(&broker.kombu(&json).await.done())[0];
    assert_eq!(object["body"], 1);
    assert_eq!(object["content_type"], "application/json");
    assert!(object["properties"]["correlation_id"].is_string());
}

#[tokio::test]
async fn a_failure_of_the_other_side_ends_it_after_what_came_before() {
    let broker = Broker::new();
    let (stop, server) = adder(&broker).await;
    let ran = broker.kombu(&["rpc", URL, "add", "[1]", "[]", "[2]"]).await;
    let said = "cannot call: the other side failed: nothing to add (queue=add)";
    assert_eq!(ran.failed(), said);
    assert_eq!(String::from_utf8(ran.out).unwrap(), "1\n");
    let ran = broker.kombu(&["rpc", URL, "add", "\"text\""]).await;
    assert!(ran.failed().contains("the other side failed"), "{}", ran.failed());
    drop(stop);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn no_reply_is_a_timeout_and_no_queue_a_failure_if_asked_for() {
    let broker = Broker::new();
    broker.connect().await.declare_queue(&Queue::new("silent")).await.unwrap();
    let ran = broker.kombu(&["rpc", URL, "silent", "--timeout", "0.05", "1"]).await;
    assert_eq!(ran.err, "kombu: cannot call: timed out: no reply within 50ms (queue=silent)\n");
    assert_eq!(ran.ended(End::TimedOut), "");
    let ran = broker.kombu(&["rpc", URL, "nowhere", "--mandatory", "1"]).await;
    assert!(ran.failed().contains("unroutable"), "{}", ran.failed());
    let ran = broker.kombu(&["rpc", URL, "silent", "{"]).await;
    assert!(ran.failed().starts_with("BODY is not JSON"), "{}", ran.failed());
}

#[tokio::test]
async fn an_interrupt_ends_the_waiting() {
    let broker = Broker::new();
    broker.connect().await.declare_queue(&Queue::new("silent")).await.unwrap();
    let (wish, interrupt) = Interrupt::pair();
    let out = Text::default();
    let rpc = ["rpc", URL, "silent", "1"];
    let running = broker.run(&rpc, io::empty(), Box::new(out.clone()), interrupt, &out);
    let interrupting = async {
        // The request is there, so it waits for the reply.
        while broker.size("silent").await == 0 {}
        wish.send_replace(true);
    };
    let (ran, ()) = tokio::join!(running, interrupting);
    assert!(matches!(ran.outcome, Err(Stop::Interrupted)), "{ran:?}");
}
