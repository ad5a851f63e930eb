//! A Rust consumer in a process of its own, to be killed: this program, started with the word
//! `hold-messages`.

use std::env;
use std::io::{self, Write};
use std::process::{ExitCode, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::{Failure, Result};
use crate::rust;
use crate::side::PATIENCE;
use crate::transport::runtime;

/// What the process is to hold.
#[derive(Debug)]
pub(crate) struct Request {
    url: String,
    queue: String,
    count: usize,
}

/// The request that this process was started with.
pub(crate) fn requested() -> Option<Request> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|word| word == WORD)?;
    let (url, queue) = (arguments.next()?, arguments.next()?);
    let count = arguments.next()?.parse().ok()?;
    Some(Request { url, queue, count })
}

impl Request {
    /// Receives the messages, says so, and holds them for ever.
    pub(crate) fn hold(&self) -> ExitCode {
        let held = runtime().map_err(Failure::from).and_then(|runtime| {
            runtime.block_on(async {
                let connection = rust::builder(&self.url).connect().await?;
                let mut consumer = rust::consume(&connection, &self.queue, self.count).await?;
                let mut held = Vec::new();
                while held.len() < self.count {
                    held.push(rust::next(&mut consumer).await?);
                }
                let mut out = io::stdout();
                writeln!(out, "{HELD}")?;
                out.flush()?;
                std::future::pending::<Result<()>>().await
            })
        });
        match held {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                drop(writeln!(io::stderr(), "{failure}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// Lets a process receive messages, and kills it.
pub(crate) async fn hold_and_die(url: &str, queue: &str, count: usize) -> Result<()> {
    let mut process = Command::new(env::current_exe()?)
        .args([WORD, url, queue, &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let out = process.stdout.take().ok_or_else(|| Failure::own("the process has no pipe"))?;
    let mut lines = BufReader::new(out).lines();
    let line = timeout(PATIENCE, lines.next_line()).await??;
    if line.as_deref() != Some(HELD) {
        return Err(Failure::own(format!("the process does not hold the messages: {line:?}")));
    }
    Ok(process.kill().await?)
}

const WORD: &str = "hold-messages";
const HELD: &str = "held";
