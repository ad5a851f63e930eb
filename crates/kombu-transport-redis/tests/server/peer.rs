//! Python's Kombu, asked line by line: `interop/peer.py`.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::case::Outcome;
use crate::ground::{url, variable};

/// A Python process, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Peer {
    /// Starts one whose keys have a prefix, and whose messages come back after a second.
    pub(crate) fn start(prefix: &str) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/peer.py");
        let mut process = Command::new(variable(PYTHON).unwrap_or_default())
            .arg(script)
            .arg(url("KOMBU_TEST_REDIS_URL", ""))
            .arg(format!("--option=global_keyprefix={}", json!(prefix)))
            .arg("--option=visibility_timeout=1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = process.stdin.take().ok_or("a peer without input")?;
        let answers = process.stdout.take().ok_or("a peer without output")?;
        Ok(Self { process, requests, answers: BufReader::new(answers).lines() })
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

    /// Receives so many messages, and returns their bodies.
    pub(crate) async fn consume(
        &mut self,
        queue: &str,
        count: usize,
        how: &str,
    ) -> Result<Vec<Json>> {
        let arguments = json!({ "queues": [queue], "count": count, "settle": how, "timeout": 20 });
        let mut messages = self.ask("consume", arguments).await?;
        let messages = messages.as_array_mut().ok_or("not a list")?;
        Ok(messages.iter_mut().map(|message| message["body"].take()).collect())
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(mut self) -> Outcome {
        Ok(self.process.kill().await?)
    }
}

/// The variable with the interpreter that has Kombu.
pub(crate) const PYTHON: &str = "KOMBU_INTEROP_PYTHON";
