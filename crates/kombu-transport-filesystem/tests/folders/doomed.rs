//! Programs in processes of their own, to be killed: this one, started with a word.

use std::collections::BTreeSet;
use std::env;
use std::io::Write as _;
use std::process::{ExitCode, Stdio};

use kombu_core::{Connection, Queue};
use kombu_transport_filesystem::FilesystemTransport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::ground::{SOON, say};
use crate::syncs::publish_a_few;

/// What a process does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Receives numbers, says each, and acknowledges it then.
    Consume,
    /// Receives numbers, says each, and holds it.
    Hold,
    /// Publishes numbers from one on, and says each that is confirmed.
    Publish(u64),
}

/// A process at work.
#[derive(Debug)]
pub(crate) struct Doomed {
    process: Child,
    /// What it says, which is read all the while, so that it never waits for room.
    lines: mpsc::UnboundedReceiver<String>,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Doomed {
    /// Starts one.
    pub(crate) fn start(work: Work, url: &str, queue: &str) -> Result<Self> {
        let (word, from) = match work {
            Work::Consume => ("consume-until-killed", 0),
            Work::Hold => ("hold-until-killed", 0),
            Work::Publish(from) => ("publish-until-killed", from),
        };
        let mut process = Command::new(env::current_exe()?)
            .args([word, url, queue, &from.to_string()])
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

    /// Waits until it has said so many numbers, and returns them.
    pub(crate) async fn has_said(&mut self, count: usize) -> Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < count {
            let line = timeout(SOON, self.lines.recv()).await?.ok_or("the process ended")?;
            numbers.insert(line.parse()?);
        }
        Ok(numbers)
    }

    /// Kills it as `kill -9` does, and returns the numbers that it had said since.
    pub(crate) async fn kill(mut self) -> Result<Vec<u64>> {
        self.process.start_kill()?;
        let status = self.process.wait().await?;
        if status.code().is_some() {
            return Err(format!("the process ended by itself with {status}").into());
        }
        let mut numbers = Vec::new();
        while let Some(line) = self.lines.recv().await {
            // The last line may be half a number, if a kill can come in the middle of a write.
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }
}

/// Works, if this process was started for it.
pub(crate) fn requested() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    let word = arguments.next()?;
    let (url, queue) = (arguments.next()?, arguments.next()?);
    let from = arguments.next()?.parse().ok()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    if word == PUBLISH_A_FEW {
        return Some(match runtime.block_on(publish_a_few(&url, &queue)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(format_args!("{error}"));
                ExitCode::FAILURE
            }
        });
    }
    let Err(error) = runtime.block_on(async {
        match word.as_str() {
            "consume-until-killed" => consume(&url, &queue, true).await,
            "hold-until-killed" => consume(&url, &queue, false).await,
            _ => publish(&url, &queue, from).await,
        }
    });
    say(format_args!("{error}"));
    Some(ExitCode::FAILURE)
}

async fn connect(url: &str) -> kombu_core::Result<Connection> {
    Connection::builder(url).transport(FilesystemTransport::new()).connect().await
}

async fn consume(url: &str, queue: &str, acknowledges: bool) -> Result<std::convert::Infallible> {
    let connection = connect(url).await?;
    let prefetch = if acknowledges { 20 } else { 1000 };
    let mut consumer = connection.consumer(Queue::new(queue)).prefetch(prefetch).start().await?;
    let mut held = Vec::new();
    loop {
        let delivery = consumer.next().await.ok_or("the consumer's stream ended")??;
        // Said before it is acknowledged: what is not said is not done.
        writeln!(std::io::stdout(), "{}", delivery.decode::<u64>()?)?;
        if acknowledges {
            delivery.ack().await?;
        } else {
            held.push(delivery);
        }
    }
}

async fn publish(url: &str, queue: &str, from: u64) -> Result<std::convert::Infallible> {
    let connection = connect(url).await?;
    let producer = connection.producer().await?;
    let mut next = from;
    loop {
        let batch = (next..next + 10).map(|id| producer.publish(&id).to("", queue));
        for result in producer.publish_batch(batch).await {
            result?;
            writeln!(std::io::stdout(), "{next}")?;
            next += 1;
        }
    }
}

/// The word for a process that publishes a few messages and ends.
pub(crate) const PUBLISH_A_FEW: &str = "publish-a-few";
