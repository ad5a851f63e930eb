//! Python's Kombu, asked line by line: `interop/peer.py`.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::ground::{bare_url, variable};

/// A Python process, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Peer {
    /// Starts one on the same tables.
    pub(crate) fn start() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/peer.py");
        let mut process = Command::new(variable(PYTHON).unwrap_or_default())
            .arg(script)
            .arg(bare_url())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().ok_or("a peer without input")?;
        let answers = process.stdout.take().ok_or("a peer without output")?;
        Ok(Self { _process: process, requests, answers: BufReader::new(answers).lines() })
    }

    /// Makes a request and waits for its answer.
    pub(crate) async fn ask(&mut self, what: &str, mut arguments: Json) -> Result<Json> {
        arguments["do"] = json!(what);
        self.requests.write_all(format!("{arguments}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.ok_or("the peer ended")?;
        let mut answer: Json = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => Err(format!("{what}: {error}").into()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Receives messages until none comes for so many seconds, at most so many, and returns their
    /// bodies.
    pub(crate) async fn consume_until(
        &mut self,
        queue: &str,
        most: usize,
        quiet: u64,
    ) -> Result<Vec<Json>> {
        let mut bodies = Vec::new();
        while bodies.len() < most {
            let arguments =
                json!({ "queues": [queue], "count": 1, "settle": "ack", "timeout": quiet });
            let mut messages = self.ask("consume", arguments).await?;
            let messages = messages.as_array_mut().ok_or("not a list")?;
            if messages.is_empty() {
                break;
            }
            bodies.extend(messages.iter_mut().map(|message| message["body"].take()));
        }
        Ok(bodies)
    }
}

/// The variable with the interpreter that has Kombu.
const PYTHON: &str = "KOMBU_INTEROP_PYTHON";
