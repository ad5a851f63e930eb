//! A consumer in a process of its own, to be killed or stopped: this program, started with the
//! word `consume-until-killed`.

use std::collections::BTreeSet;
use std::env;
use std::process::{ExitCode, Stdio};

use kombu_core::Queue;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};

use crate::case::Outcome;
use crate::ground::{SOON, builder};

/// A process that consumes.
#[derive(Debug)]
pub(crate) struct Doomed {
    process: Child,
    /// What it says, which is read all the while, so that it never waits for room.
    lines: mpsc::UnboundedReceiver<String>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Doomed {
    /// Starts one. It says each number that it receives, and then acknowledges it, if it is to.
    pub(crate) fn start(url: &str, queue: &str, prefetch: u16, acknowledges: bool) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args([WORD, url, queue, &prefetch.to_string(), &acknowledges.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let out = process.stdout.take().ok_or("a process without output")?;
        let (said, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut out = BufReader::new(out).lines();
            while let Ok(Some(line)) = out.next_line().await {
                let _nobody_listens = said.send(line);
            }
        });
        Ok(Self { process, lines })
    }

    /// Waits until it has said so many numbers.
    pub(crate) async fn has_received(&mut self, count: usize) -> Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < count {
            let line = timeout(SOON, self.lines.recv()).await?.ok_or("the consumer ended")?;
            numbers.insert(line.parse()?);
        }
        Ok(numbers)
    }

    /// Stops it, or lets it go on, as the signals do.
    pub(crate) async fn signal(&self, signal: &str) -> Outcome {
        let id = self.process.id().ok_or("the consumer ended")?.to_string();
        let status = Command::new("kill").args([signal, &id]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("kill {signal}: {status}").into()) }
    }

    /// Kills it as `kill -9` does, and returns the numbers that it had said.
    pub(crate) async fn kill(mut self) -> Result<Vec<u64>> {
        self.process.start_kill()?;
        let status = self.process.wait().await?;
        if status.code().is_some() {
            return Err(format!("the consumer ended by itself with {status}").into());
        }
        let mut numbers = Vec::new();
        while let Some(line) = self.lines.recv().await {
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }
}

/// Consumes, if this process was started for it.
#[expect(clippy::print_stderr, reason = "why it ended")]
pub(crate) fn requested() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|word| word == WORD)?;
    let (url, queue) = (arguments.next()?, arguments.next()?);
    let prefetch = arguments.next()?.parse().ok()?;
    let acknowledges = arguments.next()?.parse().ok()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    let Err(error) = runtime.block_on(consume(&url, &queue, prefetch, acknowledges));
    eprintln!("{error}");
    Some(ExitCode::FAILURE)
}

#[expect(clippy::print_stdout, reason = "read by the case")]
async fn consume(
    url: &str,
    queue: &str,
    prefetch: u16,
    acknowledges: bool,
) -> Result<std::convert::Infallible> {
    let connection = builder(url).connect().await?;
    let mut consumer = connection.consumer(Queue::new(queue)).prefetch(prefetch).start().await?;
    let mut held = Vec::new();
    loop {
        let delivery = consumer.next().await.ok_or("the consumer's stream ended")??;
        // Said before it is acknowledged: what is not said is not done.
        println!("{}", delivery.decode::<u64>()?);
        if acknowledges {
            // A moment's work, so that it is never idle when it is killed.
            sleep(Duration::from_millis(1)).await;
            delivery.ack().await?;
        } else {
            held.push(delivery);
        }
    }
}

const WORD: &str = "consume-until-killed";
