//! Work in a process of its own, which may be killed: this program, started with the name of the
//! work.

use std::env;
use std::io::Write as _;
use std::process::{ExitCode, Stdio};

use kombu_core::{Connection, Queue};
use kombu_transport_sql::SqlTransport;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};

use crate::ground::SOON;

/// A process at work.
#[derive(Debug)]
pub(crate) struct Process {
    process: Child,
    /// What it says, which is read all the while, so that it never waits for room.
    lines: mpsc::UnboundedReceiver<String>,
}

/// What a process does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Receives messages, says each and acknowledges it, until it is killed.
    Consume { prefetch: u16 },
    /// Receives messages and holds them.
    Hold { prefetch: u16 },
    /// Publishes so many numbers from a number on, each by itself, and ends.
    Publish { first: u64, count: u64 },
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl Process {
    pub(crate) fn start(url: &str, queue: &str, work: Work) -> Result<Self> {
        let (word, one, two) = match work {
            Work::Consume { prefetch } => (CONSUME, u64::from(prefetch), 0),
            Work::Hold { prefetch } => (HOLD, u64::from(prefetch), 0),
            Work::Publish { first, count } => (PUBLISH, first, count),
        };
        let mut process = Command::new(env::current_exe()?)
            .args([word, url, queue, &one.to_string(), &two.to_string()])
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
    pub(crate) async fn has_said(&mut self, count: usize) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let line = timeout(SOON, self.lines.recv()).await?.ok_or("the process ended")?;
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }

    /// The numbers that it has said by now.
    pub(crate) fn said(&mut self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }

    /// Kills it as `kill -9` does, and returns the numbers that it had said.
    pub(crate) async fn kill(mut self) -> Result<Vec<u64>> {
        self.process.start_kill()?;
        let status = self.process.wait().await?;
        if status.code().is_some() {
            return Err(format!("the process ended by itself with {status}").into());
        }
        let mut numbers = Vec::new();
        while let Some(line) = self.lines.recv().await {
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }

    /// Waits until it has done its work.
    pub(crate) async fn done(mut self) -> Result<()> {
        let status = timeout(SOON * 2, self.process.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

/// Does the work that this process was started for.
pub(crate) fn requested() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    let word = arguments.next().filter(|word| [CONSUME, HOLD, PUBLISH].contains(&word.as_str()))?;
    let (url, queue) = (arguments.next()?, arguments.next()?);
    let one = arguments.next()?.parse().ok()?;
    let two = arguments.next()?.parse().ok()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    let done = runtime.block_on(async {
        match word.as_str() {
            PUBLISH => publish(&url, &queue, one, two).await,
            word => consume(&url, &queue, u16::try_from(one)?, word == CONSUME).await,
        }
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::ground::say(format_args!("{word}: {error:?}"));
            ExitCode::FAILURE
        }
    })
}

async fn publish(url: &str, queue: &str, first: u64, count: u64) -> Result<()> {
    let connection = Connection::builder(url).transport(SqlTransport::new()).connect().await?;
    let producer = connection.producer().await?.retry(false);
    for number in first..first + count {
        producer.publish(&number).to("", queue).await?;
    }
    Ok(connection.close().await?)
}

async fn consume(url: &str, queue: &str, prefetch: u16, acknowledges: bool) -> Result<()> {
    let connection = Connection::builder(url).transport(SqlTransport::new()).connect().await?;
    let mut consumer = connection.consumer(Queue::new(queue)).prefetch(prefetch).start().await?;
    let mut held = Vec::new();
    loop {
        let delivery = consumer.next().await.ok_or("the consumer's stream ended")??;
        // Said before it is acknowledged: what is not said is not done.
        writeln!(std::io::stdout(), "{}", delivery.decode::<u64>()?)?;
        if acknowledges {
            // A moment's work, so that it is never idle when it is killed.
            sleep(Duration::from_millis(1)).await;
            delivery.ack().await?;
        } else {
            held.push(delivery);
        }
    }
}

const CONSUME: &str = "consume-until-killed";
const HOLD: &str = "hold-until-killed";
const PUBLISH: &str = "publish-and-end";
