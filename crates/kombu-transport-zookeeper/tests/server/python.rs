//! Rust and Python's Kombu on the same queues: `interop/peer.py`, asked line by line.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::case::{Outcome, cases};
use crate::doomed::Doomed;
use crate::ground::{connect, fill, next, numbers, queue, say, until, url, variable};
use crate::here;

cases! {
    beside what_a_killed_rust_consumer_held_comes_to_python [PYTHON];
    beside a_held_message_is_hidden_from_python [PYTHON];
    beside rust_and_python_consume_together_without_doubles [PYTHON];
    beside what_python_gives_back_comes_to_rust [PYTHON];
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// A Python process, which is killed when this is dropped.
#[derive(Debug)]
struct Peer {
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/peer.py");
        let mut process = Command::new(variable(PYTHON).unwrap_or_default())
            .arg(script)
            .arg(url(""))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().ok_or("a peer without input")?;
        let answers = process.stdout.take().ok_or("a peer without output")?;
        Ok(Self { _process: process, requests, answers: BufReader::new(answers).lines() })
    }

    async fn ask(&mut self, what: &str, mut arguments: Json) -> Result<Json> {
        arguments["do"] = json!(what);
        self.requests.write_all(format!("{arguments}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.ok_or("the peer ended")?;
        let mut answer: Json = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => Err(format!("{what}: {error}").into()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Receives up to so many messages in a time in seconds, and returns their numbers.
    async fn consume(&mut self, queue: &str, count: u64, how: &str, time: u64) -> Result<Vec<u64>> {
        let arguments =
            json!({ "queues": [queue], "count": count, "settle": how, "timeout": time });
        let messages = self.ask("consume", arguments).await?;
        let messages = messages.as_array().ok_or("not a list")?.iter();
        messages.map(|message| message["body"].as_u64().ok_or("no number".into())).collect()
    }
}

/// Python alone knows nothing of claims: some connection of this transport gives them back.
async fn what_a_killed_rust_consumer_held_comes_to_python() -> Outcome {
    let connection = connect().await?;
    let queue = queue("rust-killed");
    fill(&connection, &queue, 0..50).await?;
    let mut doomed = Doomed::start(&url(here::IMPATIENT), queue.name(), 50, false)?;
    doomed.has_received(50).await?;
    doomed.kill().await?;
    let mut python = Peer::start()?;
    let came = python.consume(queue.name(), 50, "ack", 20).await?;
    assert_eq!(came, (0..50).collect::<Vec<_>>());
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// Python takes every node in a queue for a message, and deletes it.
async fn a_held_message_is_hidden_from_python() -> Outcome {
    let connection = connect().await?;
    let queue = queue("hidden");
    fill(&connection, &queue, 0..3).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = next(&mut consumer).await?;
    let mut python = Peer::start()?;
    assert_eq!(python.consume(queue.name(), 3, "ack", 3).await?, [1, 2]);
    held.requeue().await?;
    let held = next(&mut consumer).await?;
    assert_eq!((held.decode::<u64>()?, held.is_redelivered()), (0, true));
    held.ack_confirmed().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn rust_and_python_consume_together_without_doubles() -> Outcome {
    const COUNT: u64 = 600;
    let connection = connect().await?;
    let queue = queue("together");
    fill(&connection, &queue, 0..COUNT).await?;
    let mut python = Peer::start()?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    let theirs = python.consume(queue.name(), COUNT / 3, "ack", 25);
    let ours = async {
        let mut came = Vec::new();
        while came.len() < 2 * usize::try_from(COUNT / 3)? {
            came.extend(numbers(&mut consumer, 1).await?);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(came)
    };
    let (theirs, ours) = tokio::join!(theirs, ours);
    let (theirs, ours) = (theirs?, ours?);
    say(format_args!("Python got {}, Rust {}", theirs.len(), ours.len()));
    // What Python was too slow for.
    let rest = usize::try_from(COUNT)? - theirs.len() - ours.len();
    let rest = numbers(&mut consumer, rest).await?;
    let mut all = [theirs, ours, rest].concat();
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn what_python_gives_back_comes_to_rust() -> Outcome {
    let connection = connect().await?;
    let queue = queue("given-back");
    fill(&connection, &queue, 0..2).await?;
    let mut python = Peer::start()?;
    assert_eq!(python.consume(queue.name(), 1, "requeue", 20).await?, [0]);
    until("both to wait again", async || connection.size(queue.name()).await.is_ok_and(|n| n == 2))
        .await;
    let mut consumer = connection.consumer(&queue).start().await?;
    // Kombu puts it to the end, and marks it.
    let mut came = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut consumer).await?;
        came.push((delivery.decode::<u64>()?, delivery.is_redelivered()));
        delivery.ack_confirmed().await?;
    }
    assert_eq!(came, [(1, false), (0, true)]);
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// The variable with the interpreter that has Kombu.
const PYTHON: &str = "KOMBU_INTEROP_PYTHON";
