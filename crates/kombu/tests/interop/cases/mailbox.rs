//! Remote control: one side's nodes answer the other's calls.

use std::collections::BTreeSet;
use std::time::Duration;

use kombu::mailbox::{Mailbox, Matcher, Reply, Request};
use kombu::{Connection, Table, Value};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::case::cases;
use crate::failure::{Failure, Result};
use crate::pair::Pair;
use crate::peer::Peer;
use crate::side::{Language, PATIENCE};

cases! {
    direct_mailbox ["direct", "shared_bindings"];
    fanout_mailbox ["fanout", "own_fanout", "shared_bindings"];
}

async fn direct_mailbox(pair: &mut Pair) -> Result<()> {
    mailbox(pair, "direct").await
}

async fn fanout_mailbox(pair: &mut Pair) -> Result<()> {
    mailbox(pair, "fanout").await
}

/// The sender calls, the receiver's nodes answer.
async fn mailbox(pair: &mut Pair, kind: &str) -> Result<()> {
    let namespace = pair.stage.name(kind);
    pair.stage.clear_later(&format!("{namespace}.pidbox"));
    pair.stage.clear_later(&format!("reply.{namespace}.pidbox"));
    let connection = pair.stage.connect().await?;
    let played = match pair.sends() {
        Language::Python => python_calls(pair, &connection, &namespace, kind).await,
        Language::Rust => rust_calls(pair, &connection, &namespace, kind).await,
    };
    connection.close().await?;
    played
}

fn of_kind(connection: &Connection, namespace: &str, kind: &str) -> Mailbox {
    let mailbox = Mailbox::new(connection, namespace);
    if kind == "fanout" { mailbox.fanout() } else { mailbox }
}

async fn rust_calls(
    pair: &Pair,
    connection: &Connection,
    namespace: &str,
    kind: &str,
) -> Result<()> {
    let mailbox = of_kind(connection, namespace, kind);
    let mut served = Vec::new();
    for name in ["w1", "w2"] {
        let mut peer = Peer::start(pair.stage.ground())?;
        let arguments = json!({ "namespace": namespace, "hostname": name, "type": kind });
        served.push(tokio::spawn(async move { peer.ask("serve_node", arguments).await }));
    }
    // They are heard of when they listen.
    let both = async {
        while mailbox.multi_call("ping").limit(2).await?.len() < 2 {}
        Ok::<_, kombu::Error>(())
    };
    let late = |_elapsed| Failure::own("the nodes in Python do not answer");
    timeout(PATIENCE, both).await.map_err(late)??;

    let arguments = Table::new().with("n", 1).with("text", "ü").with("none", Value::Null);
    let replies =
        mailbox.call(["w1"], "echo").arguments(arguments.clone()).timeout(PATIENCE).await?;
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].node, "w1");
    assert_eq!(replies[0].value, Value::Table(Table::new().with("echo", arguments)));
    let failed = mailbox.call(["w2"], "fail").timeout(PATIENCE).await?;
    assert_eq!(failed[0].error(), Some("ValueError('on purpose')"));
    let unknown = mailbox.call(["w2"], "nothing").timeout(PATIENCE).await?;
    assert_eq!(unknown[0].error(), Some("KeyError('nothing')"));
    let matching = mailbox.multi_call("ping").limit(1).timeout(PATIENCE);
    let matching = matching.matching("*2", Matcher::Glob).await?;
    assert_eq!(names(&matching), ["w2"].into());
    let matching = mailbox.multi_call("ping").limit(1).timeout(PATIENCE);
    let matching = matching.matching(r"\w1", Matcher::Regex).await?;
    assert_eq!(names(&matching), ["w1"].into());

    mailbox.abcast("echo").await?;
    mailbox.abcast("stop").await?;
    let mut called = Vec::new();
    for served in served {
        let ended = timeout(PATIENCE, served).await.map_err(|_elapsed| Failure::own("no stop"))?;
        called.push(ended.map_err(|_panic| Failure::own("the peer's task panicked"))??);
    }
    assert_eq!(called, [json!(["echo", "echo"]), json!(["fail", "echo"])]);
    Ok(())
}

fn names(replies: &[Reply]) -> BTreeSet<&str> {
    replies.iter().map(|reply| reply.node.as_str()).collect()
}

async fn python_calls(
    pair: &Pair,
    connection: &Connection,
    namespace: &str,
    kind: &str,
) -> Result<()> {
    let mailbox = of_kind(connection, namespace, kind);
    let (heard, mut hears) = mpsc::unbounded_channel();
    let mut nodes = Vec::new();
    for name in ["w1", "w2"] {
        let heard = heard.clone();
        let node = mailbox
            .node(name)
            .on("echo", async |request: Request| {
                Ok::<_, kombu::Error>(Table::new().with("echo", request.arguments))
            })
            .on("fail", async |_| Err::<(), _>("on purpose"))
            .on("note", move |request: Request| {
                let sent = heard.send(format!("{name} {}", request.arguments.len()));
                async move { sent.map_err(|_closed| "nobody listens") }
            });
        nodes.push(tokio::spawn(node.listen().await?.run(std::future::pending())));
    }
    let mut peer = Peer::start(pair.stage.ground())?;
    let mut ask = async |method: &str, more: serde_json::Value| {
        let mut arguments = json!({ "namespace": namespace, "type": kind, "method": method });
        for (name, value) in more.as_object().into_iter().flatten() {
            arguments[name] = value.clone();
        }
        peer.ask("ask_nodes", arguments).await
    };
    let pong = json!({ "ok": "pong" });
    let one = ask("ping", json!({ "destination": ["w2"] })).await?;
    assert_eq!(one, json!([{ "w2": pong }]));
    let mut all = ask("ping", json!({ "limit": 2 })).await?;
    if let Some(all) = all.as_array_mut() {
        all.sort_by_key(ToString::to_string);
    }
    assert_eq!(all, json!([{ "w1": pong }, { "w2": pong }]));
    let arguments = json!({ "n": 1, "text": "ü", "none": null });
    let echoed = ask("echo", json!({ "destination": ["w1"], "arguments": arguments })).await?;
    assert_eq!(echoed, json!([{ "w1": { "echo": arguments } }]));
    let failed = ask("fail", json!({ "destination": ["w1"] })).await?;
    assert_eq!(failed, json!([{ "w1": { "error": "on purpose" } }]));
    let glob = json!({ "pattern": "*1", "matcher": "glob", "limit": 1 });
    assert_eq!(ask("ping", glob).await?, json!([{ "w1": pong }]));
    let regex = json!({ "pattern": r"\w2", "matcher": "pcre", "limit": 1 });
    assert_eq!(ask("ping", regex).await?, json!([{ "w2": pong }]));
    ask("note", json!({ "reply": false, "arguments": { "a": 1 } })).await?;
    let mut notes = BTreeSet::new();
    for _ in 0..2 {
        let note = timeout(Duration::from_secs(20), hears.recv()).await;
        notes.insert(note.ok().flatten().ok_or_else(|| Failure::own("a cast is lost"))?);
    }
    assert_eq!(notes, ["w1 1", "w2 1"].map(str::to_owned).into());
    for node in nodes {
        node.abort();
    }
    Ok(())
}
