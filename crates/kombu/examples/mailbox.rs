//! Nodes that are controlled from afar: by name, by a pattern, or all at once. A broker's URL may
//! be given: `cargo run --example mailbox --features amqp -- amqp://guest:guest@localhost//`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use kombu::mailbox::{Mailbox, Matcher, Request};

#[tokio::main]
async fn main() -> kombu::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".to_owned());
    let connection = kombu::connect(url.as_str()).await?;
    // Celery's workers are in the namespace "celery", with `.fanout()`.
    let mailbox = Mailbox::new(&connection, "example");

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut nodes = Vec::new();
    for name in ["encoder@one", "encoder@two", "uploader@one"] {
        let node = mailbox
            .node(name)
            .on("rate", async |request: Request| {
                let limit: u32 = request.argument("limit")?;
                Ok::<_, kombu::Error>(format!("at most {limit} a second"))
            })
            .listen()
            .await?;
        let mut stopped = stopped.clone();
        nodes.push(tokio::spawn(node.run(async move {
            let _sender_gone = stopped.wait_for(|stopped| *stopped).await;
        })));
    }

    let patience = Duration::from_secs(10);
    let one = mailbox.call(["uploader@one"], "rate").argument("limit", 5).timeout(patience).await?;
    for reply in &one {
        println!("{}: {}", reply.node, reply.decode::<String>()?);
    }
    let encoders = mailbox.multi_call("ping").matching("encoder@*", Matcher::Glob);
    for reply in encoders.limit(2).timeout(patience).await? {
        println!("{} is there", reply.node);
    }
    let wrong = mailbox.call(["encoder@one"], "rate").timeout(patience).await?;
    println!("without an argument: {:?}", wrong.first().and_then(|reply| reply.error()));

    let _nobody_listens = stop.send(true);
    for node in nodes {
        if let Ok(ended) = node.await {
            ended?;
        }
    }
    connection.close().await
}
