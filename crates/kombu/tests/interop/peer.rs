//! The Python process: `interop/peer.py`, asked line by line.

use std::process::Stdio;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::failure::{Failure, Result};
use crate::transport::Ground;

/// A Python Kombu in a process of its own, which is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    last_id: u64,
}

impl Peer {
    /// Starts a peer; it connects on its own.
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        let mut process = Command::new(&ground.python)
            .arg(&ground.peer)
            .arg(&ground.bare_url)
            .args(ground.transport.options.iter().flat_map(|(name, value)| {
                // A word that is no JSON is a text.
                let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
                ["--option".to_owned(), format!("{name}={value}")]
            }))
            // Nothing is left in the checkout.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || Failure::own("the peer has no pipe");
        let requests = process.stdin.take().ok_or_else(missing)?;
        let answers = process.stdout.take().ok_or_else(missing)?;
        Ok(Self { process, requests, answers: BufReader::new(answers).lines(), last_id: 0 })
    }

    /// Makes a request, an object of arguments, and waits for its answer.
    #[track_caller]
    pub(crate) fn ask<'a>(
        &'a mut self,
        what: &'a str,
        mut arguments: Json,
    ) -> impl Future<Output = Result<Json>> + Send + 'a {
        let place = std::panic::Location::caller();
        async move {
            self.last_id += 1;
            arguments["id"] = json!(self.last_id);
            arguments["do"] = json!(what);
            let sent = self.requests.write_all(format!("{arguments}\n").as_bytes()).await;
            let line = self.answers.next_line().await?;
            let (Ok(()), Some(line)) = (sent, line) else {
                let status = self.process.wait().await?;
                let message = format!("the peer ended with {status}, asked {what} at {place}");
                return Err(Failure::own(message));
            };
            let mut answer: Json = serde_json::from_str(&line)?;
            if answer["id"] != arguments["id"] {
                return Err(Failure::own(format!("not the answer to {arguments}: {answer}")));
            }
            if let Some(error) = answer.get("error") {
                let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
                let message = format!("{} when asked {what} at {place}", text("message"));
                return Err(Failure::new(text("type"), message));
            }
            Ok(answer["ok"].take())
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}
