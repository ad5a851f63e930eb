//! Several commands in one process, on a memory broker of the test's own.

mod consume;
mod control;
mod moving;
mod others;
mod publish;
mod rpc;
mod top;

use std::io::{self, BufReader, Cursor, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use kombu::transport::TransportRegistry;
use kombu::transports::memory::MemoryTransport;
use kombu::{Connection, Message, Properties, Queue, Tag, Value};
use serde_json::{Value as JsonValue, json};
use tokio::time::{Instant, timeout};

use crate::cli::Cli;
use crate::commands;
use crate::end::{End, Outcome, Stop};
use crate::interrupt::Interrupt;
use crate::session::Session;

const URL: &str = "memory://";

/// What became of a command.
#[derive(Debug)]
struct Ran {
    outcome: Outcome,
    out: Vec<u8>,
    err: String,
}

impl Ran {
    /// The output of a command that ended so.
    fn ended(self, end: End) -> String {
        assert_eq!(self.outcome.ok(), Some(end), "{}", self.err);
        String::from_utf8(self.out).expect("it prints UTF-8")
    }

    fn done(self) -> String {
        self.ended(End::Done)
    }

    /// The line of a command that failed.
    fn failed(&self) -> &str {
        match &self.outcome {
            Err(Stop::Failed(line)) => line,
            other => panic!("it ended with {other:?}"),
        }
    }
}

/// A text that a command writes.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Text {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An output that takes some lines, and then does something, or fails.
struct Lines<F> {
    left: usize,
    text: Text,
    then: F,
}

impl<F: FnMut() -> io::Result<()>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            (self.then)()?;
        } else {
            self.left -= 1;
        }
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broker(TransportRegistry);

impl Broker {
    fn new() -> Self {
        Self(TransportRegistry::new().with(MemoryTransport::new()))
    }

    async fn kombu(&self, arguments: &[&str]) -> Ran {
        self.kombu_with(arguments, io::empty()).await
    }

    async fn kombu_with(&self, arguments: &[&str], input: impl Read + Send + 'static) -> Ran {
        let (_wish, interrupt) = Interrupt::pair();
        let out = Text::default();
        self.run(arguments, input, Box::new(out.clone()), interrupt, &out).await
    }

    async fn run(
        &self,
        arguments: &[&str],
        input: impl Read + Send + 'static,
        writer: Box<dyn Write>,
        interrupt: Interrupt,
        out: &Text,
    ) -> Ran {
        self.run_shown(arguments, input, writer, interrupt, out, false).await
    }

    /// Runs a command whose output a person watches, if so.
    async fn run_shown(
        &self,
        arguments: &[&str],
        input: impl Read + Send + 'static,
        writer: Box<dyn Write>,
        interrupt: Interrupt,
        out: &Text,
        shown: bool,
    ) -> Ran {
        let all = ["kombu"].iter().chain(arguments);
        let cli = Cli::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
        let err = Text::default();
        let mut session = Session {
            registry: self.0.clone(),
            interrupt,
            input: Some(Box::new(BufReader::new(input))),
            out: writer,
            err: Box::new(err.clone()),
            watched: false,
            shown,
        };
        let run = commands::run(cli.command, &mut session);
        let outcome = timeout(Duration::from_secs(30), run).await.expect("it ends");
        Ran { outcome, out: out.take(), err: String::from_utf8(err.take()).expect("UTF-8") }
    }

    async fn connect(&self) -> Connection {
        Connection::builder(URL).registry(self.0.clone()).connect().await.expect("it connects")
    }

    /// Publishes numbers from 1 on.
    async fn publish(&self, queue: &str, count: u64) {
        let lines: String = (1..=count).map(|number| format!("{number}\n")).collect();
        let publish = ["publish", URL, "--queue", queue, "--lines"];
        let ran = self.kombu_with(&publish, Cursor::new(lines)).await;
        assert_eq!(ran.err, format!("published {count}\n"));
        ran.done();
    }

    async fn size(&self, queue: &str) -> u64 {
        self.kombu(&["size", URL, queue]).await.done().trim_end().parse().expect("a number")
    }

    /// Takes all that waits, and returns the bodies.
    async fn bodies(&self, queue: &str) -> Vec<JsonValue> {
        let count = self.size(queue).await;
        if count == 0 {
            return Vec::new();
        }
        let count = count.to_string();
        let ran = self.kombu(&["consume", URL, "--queue", queue, "--count", &count]).await;
        objects(&ran.done()).iter().map(|object| object["body"].clone()).collect()
    }
}

fn objects(lines: &str) -> Vec<JsonValue> {
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

fn numbers(range: std::ops::RangeInclusive<u64>) -> Vec<JsonValue> {
    range.map(JsonValue::from).collect()
}
