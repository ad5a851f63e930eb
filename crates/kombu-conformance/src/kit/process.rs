//! Work in processes of their own, to be stopped or killed: the test program, started again with
//! a word.

use std::collections::BTreeSet;
use std::env;
use std::io::Write as _;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use kombu_core::{ConnectionBuilder, Queue};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{Outcome, Result, SOON, say};

/// What a process does.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Work {
    /// Receives numbers, says each and then acknowledges it, until it is killed.
    Consume {
        /// How many it holds at most.
        prefetch: u16,
    },
    /// Receives numbers, says each and holds it, until it is killed.
    Hold {
        /// How many it holds at most.
        prefetch: u16,
    },
    /// Publishes numbers without retries, says each that is confirmed, and ends.
    Publish {
        /// The first number.
        first: u64,
        /// How many.
        count: u64,
        /// How many at a time.
        batch: u64,
    },
}

/// A process at work, which is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    process: Child,
    /// What it says, which is read all the while, so that it never waits for room.
    lines: mpsc::UnboundedReceiver<String>,
}

impl Process {
    /// Starts one on a queue. Its program must call [`work`] first.
    ///
    /// # Errors
    ///
    /// Those of starting a process.
    pub fn start(url: &str, queue: &str, work: Work) -> Result<Self> {
        let (word, numbers) = match work {
            Work::Consume { prefetch } => (CONSUME, [prefetch.into(), 0, 0]),
            Work::Hold { prefetch } => (HOLD, [prefetch.into(), 0, 0]),
            Work::Publish { first, count, batch } => (PUBLISH, [first, count, batch]),
        };
        let mut process = Command::new(env::current_exe()?)
            .args([word, url, queue])
            .args(numbers.map(|number| number.to_string()))
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

    /// Waits until it has said so many different numbers, and returns them.
    ///
    /// # Errors
    ///
    /// A process that ends, or says nothing for [`SOON`].
    pub async fn has_said(&mut self, count: usize) -> Result<BTreeSet<u64>> {
        let mut numbers = BTreeSet::new();
        while numbers.len() < count {
            let line = timeout(SOON, self.lines.recv()).await?.ok_or("the process ended")?;
            numbers.insert(line.parse()?);
        }
        Ok(numbers)
    }

    /// The numbers that it has said by now, beside those that were asked for before.
    ///
    /// # Errors
    ///
    /// What is no number.
    pub fn said(&mut self) -> Result<Vec<u64>> {
        let mut numbers = Vec::new();
        while let Ok(line) = self.lines.try_recv() {
            numbers.push(line.parse()?);
        }
        Ok(numbers)
    }

    /// Sends it a signal: `-STOP`, `-CONT`.
    ///
    /// # Errors
    ///
    /// A process that has ended, and those of the command `kill`.
    pub async fn signal(&self, signal: &str) -> Outcome {
        let id = self.process.id().ok_or("the process ended")?.to_string();
        let status = Command::new("kill").args([signal, &id]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("kill {signal}: {status}").into()) }
    }

    /// Kills it as `kill -9` does, and returns the numbers that it had said since it was asked.
    ///
    /// # Errors
    ///
    /// A process that ended by itself.
    pub async fn kill(mut self) -> Result<Vec<u64>> {
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
    ///
    /// # Errors
    ///
    /// A process that fails, or takes longer than twice [`SOON`].
    pub async fn done(mut self) -> Outcome {
        let status = timeout(SOON * 2, self.process.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

/// Does the work that this process was started for, over a connection that `builder` makes of a
/// URL; `None` if it was started for something else.
pub fn work(builder: impl Fn(&str) -> ConnectionBuilder) -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    let word = arguments.next().filter(|word| [CONSUME, HOLD, PUBLISH].contains(&word.as_str()))?;
    let (url, queue) = (arguments.next()?, arguments.next()?);
    let numbers: Vec<u64> = arguments.map_while(|number| number.parse().ok()).collect();
    let [first, count, batch] = numbers[..] else { return None };
    let runtime = tokio::runtime::Runtime::new().ok()?;
    let done = runtime.block_on(async {
        match word.as_str() {
            PUBLISH => publish(builder(&url), &queue, first, count, batch).await,
            word => consume(builder(&url), &queue, u16::try_from(first)?, word == CONSUME).await,
        }
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{word}: {error:?}"));
            ExitCode::FAILURE
        }
    })
}

async fn publish(
    builder: ConnectionBuilder,
    queue: &str,
    first: u64,
    count: u64,
    batch: u64,
) -> Outcome {
    let connection = builder.connect().await?;
    let producer = connection.producer().await?.retry(false);
    let (mut next, end) = (first, first.saturating_add(count));
    while next < end {
        let numbers = next..end.min(next + batch);
        let publications = numbers.map(|number| producer.publish(&number).to("", queue));
        for result in producer.publish_batch(publications).await {
            result?;
            writeln!(std::io::stdout(), "{next}")?;
            next += 1;
        }
    }
    Ok(connection.close().await?)
}

async fn consume(
    builder: ConnectionBuilder,
    queue: &str,
    prefetch: u16,
    acknowledges: bool,
) -> Outcome {
    let connection = builder.connect().await?;
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
