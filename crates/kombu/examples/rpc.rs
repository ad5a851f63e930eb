//! Calls a server and answers. A broker's URL may be given:
//! `cargo run --example rpc --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use kombu::{Broadcast, ErrorKind, Queue, rpc, uuid};
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;

    // A server: what the function returns is the reply, and so is the error.
    let server = connection.rpc_server("example.divide").concurrency(4).start().await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(
        server.serve(async { drop(stopped.await) }, |(a, b): (i64, i64)| async move {
            a.checked_div(b).ok_or("there is no such number")
        }),
    );

    let client = connection.rpc_client().timeout(Duration::from_secs(10)).start().await?;
    let answer: i64 = client.call("example.divide", &(84, 2)).await?;
    println!("84 / 2 = {answer}");
    assert_eq!(answer, 42);
    match client.call::<_, i64>("example.divide", &(1, 0)).await {
        Err(error) if error.kind() == ErrorKind::Remote => println!("1 / 0: {error}"),
        other => panic!("the server failed, and the call is {other:?}"),
    }

    drop(stop);
    serving.await.expect("it does not panic")?;
    client.close().await?;
    connection.delete_queue("example.divide").await?;

    // The same by hand, from one to many: whoever hears the request answers it.
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let queue = Queue::from(Broadcast::new("example.who"));
        nodes.push(connection.consumer(queue).start().await?);
    }
    let queue = rpc::reply_queue(&connection.capabilities().await?);
    let replies = rpc::collect_replies(&connection, &queue).await?;
    let producer = connection.producer().await?;
    let request =
        producer.publish("who is there?").to(Broadcast::new("example.who").exchange(), "");
    request.reply_to(queue.name()).correlation_id(uuid()).await?;

    for (number, mut node) in nodes.into_iter().enumerate() {
        let request = node.next().await.expect("the connection is open")?;
        producer.reply(&request, &format!("node {number}")).await?;
        request.ack().await?;
        node.close().await?;
    }
    let mut replies = replies.limit(3).within(Duration::from_secs(10)).required();
    while let Some(reply) = replies.next().await {
        println!("{}", reply?.decode::<String>()?);
    }
    replies.close().await?;
    connection.close().await
}
