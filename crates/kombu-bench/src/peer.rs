//! Python's Kombu as a contender: `interop/bench.py` does one run a line.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

use crate::case::{Contender, PYTHON, PYTHON_VALUES};
use crate::sample::Sample;
use crate::work::Work;

/// A Python process that measures itself.
#[derive(Debug)]
pub(crate) struct Peer {
    pipes: Mutex<Pipes>,
}

#[derive(Debug)]
struct Pipes {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What it is asked to do.
#[derive(Debug, Serialize)]
struct Request<'work> {
    run: &'work str,
    url: &'work str,
    queue: &'work str,
    body: &'work str,
    count: u64,
    prefetch: u16,
    window: usize,
    broker: Option<u32>,
}

/// What it answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Done { messages: u64, wall: f64, cpu: f64, broker_cpu: Option<f64>, latencies: Vec<f64> },
    Failed { error: String },
}

impl Peer {
    /// Starts it, if the environment names an interpreter that has Kombu.
    pub(crate) async fn start() -> Result<Option<Self>> {
        let Some(interpreter) = interpreter() else {
            eprintln!("without Python's Kombu: KOMBU_INTEROP_PYTHON is not set");
            return Ok(None);
        };
        let mut process = Command::new(&interpreter)
            .arg(script())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", interpreter.display()))?;
        let input = process.stdin.take().context("a peer without input")?;
        let output = process.stdout.take().context("a peer without output")?;
        let output = BufReader::new(output).lines();
        Ok(Some(Self { pipes: Mutex::new(Pipes { input, output, _process: process }) }))
    }

    /// Its versions.
    pub(crate) async fn versions(&self) -> Result<Vec<(String, String)>> {
        let answer = self.ask("{\"run\": \"versions\"}".to_owned()).await?;
        let versions: Vec<(String, String)> = serde_json::from_str(&answer)?;
        Ok(versions)
    }

    /// Sends one line and waits for the answer.
    async fn ask(&self, mut line: String) -> Result<String> {
        line.push('\n');
        let mut pipes = self.pipes.lock().await;
        pipes.input.write_all(line.as_bytes()).await?;
        pipes.output.next_line().await?.context("the Python peer ended")
    }
}

/// A way in which Python's Kombu does a case's work.
#[derive(Debug)]
pub(crate) struct Python {
    peer: Arc<Peer>,
    way: Way,
}

/// A run that the script knows, and what tables call it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    run: &'static str,
    name: &'static str,
}

impl Python {
    pub(crate) const CONSUME: [Way; 2] = both("consume", "consume_values");
    pub(crate) const MEMORY: [Way; 2] = both("memory", "memory_values");
    pub(crate) const PUBLISH: [Way; 2] = both("publish", "publish_values");
    pub(crate) const PUBLISH_BATCH: Way = Way { run: "publish_batch", name: PYTHON };
    pub(crate) const PUBLISH_WINDOW: Way = Way { run: "publish_window", name: "py-amqp, window" };
    pub(crate) const ROUND_TRIP: Way = Way { run: "round_trip", name: PYTHON };

    /// The contenders of these ways; none without Python.
    pub(crate) fn all(peer: &Option<Arc<Peer>>, ways: &[Way]) -> Vec<Arc<dyn Contender>> {
        let peers = ways.iter().filter_map(|way| {
            let peer = Arc::clone(peer.as_ref()?);
            Some(Arc::new(Self { peer, way: *way }) as Arc<dyn Contender>)
        });
        peers.collect()
    }
}

/// A way with bytes, and the same with values.
const fn both(bytes: &'static str, values: &'static str) -> [Way; 2] {
    [Way { run: bytes, name: PYTHON }, Way { run: values, name: PYTHON_VALUES }]
}

#[async_trait]
impl Contender for Python {
    fn name(&self) -> &'static str {
        self.way.name
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let request = serde_json::to_string(&Request {
            run: self.way.run,
            url: &work.url,
            queue: &work.queue,
            body: std::str::from_utf8(&work.body.bytes)?,
            count: work.count,
            prefetch: work.prefetch,
            window: work.window,
            broker: work.broker.map(|broker| broker.pid),
        })?;
        match serde_json::from_str(&self.peer.ask(request).await?)? {
            Answer::Failed { error } => bail!("{error}"),
            Answer::Done { messages, wall, cpu, broker_cpu, latencies } => Ok(Sample {
                messages,
                wall: Duration::try_from_secs_f64(wall)?,
                cpu: Duration::try_from_secs_f64(cpu)?,
                broker_cpu: broker_cpu.map(Duration::try_from_secs_f64).transpose()?,
                latencies: latencies
                    .into_iter()
                    .map(Duration::try_from_secs_f64)
                    .collect::<Result<_, _>>()?,
            }),
        }
    }
}

/// The peak of a Python process's memory, in KiB, that consumes as [`crate::resident`] has it.
pub(crate) async fn resident(url: &str, queue: &str, count: u64) -> Result<Option<Value>> {
    let Some(interpreter) = interpreter() else { return Ok(None) };
    let output = Command::new(interpreter)
        .arg(script())
        .args(["--resident", url, queue, &count.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .await?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn interpreter() -> Option<PathBuf> {
    env::var_os("KOMBU_INTEROP_PYTHON").filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/bench.py")
}
