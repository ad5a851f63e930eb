//! Python's Kombu, asked line by line: the workspace's `interop/peer.py`.

use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Outcome, Result, variable};

/// The variable with the interpreter that has Kombu.
pub const PYTHON: &str = "KOMBU_INTEROP_PYTHON";

/// A Python process, which is killed when this is dropped.
#[derive(Debug)]
pub struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts one, with transport options of Kombu as `name=JSON`.
    ///
    /// # Errors
    ///
    /// Those of starting a process.
    pub fn start(url: &str, options: &[&str]) -> Result<Self> {
        let mut process = Command::new(variable(PYTHON).unwrap_or_default())
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../interop/peer.py"))
            .arg(url)
            .args(options.iter().map(|option| format!("--option={option}")))
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
    ///
    /// # Errors
    ///
    /// What Python answers instead, and its end.
    pub async fn ask(&mut self, what: &str, mut arguments: Json) -> Result<Json> {
        arguments["do"] = json!(what);
        self.requests.write_all(format!("{arguments}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.ok_or("the peer ended")?;
        let mut answer: Json = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => Err(format!("{what}: {error}").into()),
            None => Ok(answer["ok"].take()),
        }
    }

    /// Receives up to so many messages, which it settles by `ack`, `hold` and what else
    /// `interop/peer.py` has, and returns their bodies. Gives up when none comes for so many
    /// seconds.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub async fn consume(
        &mut self,
        queue: &str,
        count: usize,
        settle: &str,
        seconds: f64,
    ) -> Result<Vec<Json>> {
        let arguments =
            json!({ "queues": [queue], "count": count, "settle": settle, "timeout": seconds });
        let mut messages = self.ask("consume", arguments).await?;
        let messages = messages.as_array_mut().ok_or("not a list")?;
        Ok(messages.iter_mut().map(|message| message["body"].take()).collect())
    }

    /// Receives and acknowledges messages one at a time, so that others have their share, until
    /// none comes for so many seconds, at most so many; returns the numbers among their bodies.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask).
    pub async fn consume_one_by_one(
        &mut self,
        queue: &str,
        most: usize,
        quiet: f64,
    ) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        while numbers.len() < most {
            let one = self.consume(queue, 1, "ack", quiet).await?;
            if one.is_empty() {
                break;
            }
            numbers.extend(one.iter().filter_map(Json::as_u64));
        }
        Ok(numbers)
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn kill(mut self) -> Outcome {
        Ok(self.process.kill().await?)
    }
}
