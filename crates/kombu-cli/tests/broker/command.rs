//! Running the command against a broker, with a limit on everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::RangeInclusive;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kombu::Connection;
use kombu::transport::DeleteExchange;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A broker, and the names that a case uses on it.
pub(crate) struct Broker {
    pub(crate) url: String,
    prefix: String,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Broker {
    pub(crate) fn new(url: &str, case: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: format!("kombu-cli.{}.{case}", std::process::id()),
            queues: Mutex::default(),
            exchanges: Mutex::default(),
        }
    }

    /// The name of a queue of this case's own, deleted at its end.
    pub(crate) fn queue(&self, name: &str) -> String {
        let name = format!("{}.{name}", self.prefix);
        self.queues.lock().unwrap().push(name.clone());
        name
    }

    /// The name of an exchange of this case's own, deleted at its end.
    pub(crate) fn exchange(&self, name: &str) -> String {
        let name = format!("{}.{name}", self.prefix);
        self.exchanges.lock().unwrap().push(name.clone());
        name
    }

    /// Starts the command with the broker's URL as the first argument of the subcommand.
    pub(crate) fn start(&self, subcommand: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kombu"));
        command.arg(subcommand).arg(&self.url).args(arguments);
        Running::start(command)
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> Output {
        self.start(subcommand, arguments).output()
    }

    /// Runs the command with an input to its end.
    pub(crate) fn run_with(&self, subcommand: &str, arguments: &[&str], input: String) -> Output {
        self.start(subcommand, arguments).output_of(input)
    }

    /// Runs what must do all that it should; returns its output.
    pub(crate) fn done(&self, subcommand: &str, arguments: &[&str]) -> String {
        ended(&self.run(subcommand, arguments), 0)
    }

    /// Publishes the numbers from 1 on.
    pub(crate) fn publish_numbers(&self, queue: &str, count: u64) {
        let lines = (1..=count).map(|number| format!("{number}\n")).collect();
        let output = self.run_with("publish", &["--queue", queue, "--lines"], lines);
        assert_eq!(text(&output.stderr), format!("published {count}\n"));
        ended(&output, 0);
    }

    pub(crate) fn size(&self, queue: &str) -> u64 {
        self.done("size", &[queue]).trim_end().parse().expect("a number")
    }

    /// Waits until so many messages wait.
    pub(crate) fn wait_for_size(&self, queue: &str, wanted: u64) {
        let begun = Instant::now();
        loop {
            let size = self.size(queue);
            if size == wanted {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{size} messages wait, not {wanted}");
        }
    }

    /// Consumes so many messages.
    pub(crate) fn take(&self, queue: &str, count: u64) -> Vec<Value> {
        if count == 0 {
            return Vec::new();
        }
        let count = count.to_string();
        objects(&self.done("consume", &["--queue", queue, "--count", &count, "--timeout", "30"]))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("it starts");
        let queues = std::mem::take(&mut *self.queues.lock().unwrap());
        let exchanges = std::mem::take(&mut *self.exchanges.lock().unwrap());
        if queues.is_empty() && exchanges.is_empty() {
            return;
        }
        runtime.block_on(async {
            let builder = Connection::builder(&self.url).registry(kombu::transports::enabled());
            // A broker that is gone was told of by the case.
            let Ok(connection) = builder.connect().await else { return };
            for queue in queues {
                let _gone = connection.delete_queue(&queue).await;
            }
            for exchange in exchanges {
                let _gone =
                    connection.channel().delete_exchange(&DeleteExchange::new(exchange)).await;
            }
            let _closed = connection.close().await;
        });
    }
}

/// The command under way.
pub(crate) struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        Self(child)
    }

    /// Its output, to be read line by line.
    pub(crate) fn lines(&mut self) -> Lines {
        Lines(BufReader::new(self.0.stdout.take().expect("it is piped")))
    }

    /// Writes to its input, which stays open.
    pub(crate) fn write(&mut self, input: &str) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    /// Waits for its end; returns how it ended, and its standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let stdin = self.0.stdin.take();
        let output = self.output();
        drop(stdin);
        (output.status, text(&output.stderr).to_owned())
    }

    fn output_of(mut self, input: String) -> Output {
        let mut stdin = self.0.stdin.take().expect("it is piped");
        thread::spawn(move || {
            // One that ends before it has read all says why itself.
            let _closed = stdin.write_all(input.as_bytes());
        });
        self.output()
    }

    fn output(self) -> Output {
        let pid = Pid::from_child(&self.0);
        let (sender, output) = mpsc::channel();
        thread::spawn(move || sender.send(self.0.wait_with_output()));
        match output.recv_timeout(LIMIT) {
            Ok(output) => output.expect("it can be waited for"),
            Err(RecvTimeoutError::Timeout) => {
                kill_process(pid, Signal::KILL).expect("it runs");
                panic!("it did not end within {LIMIT:?}");
            }
            Err(RecvTimeoutError::Disconnected) => panic!("nobody waits for it"),
        }
    }
}

/// The lines of a command under way.
pub(crate) struct Lines(BufReader<ChildStdout>);

impl Lines {
    /// The next line, as JSON.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("it writes UTF-8");
        serde_json::from_str(&line).expect("each line is JSON")
    }

    /// All that still come until it ends.
    pub(crate) fn rest(mut self) -> Vec<Value> {
        let mut lines = String::new();
        self.0.read_to_string(&mut lines).expect("it writes UTF-8");
        objects(&lines)
    }
}

/// The output of a command that ended with a code.
pub(crate) fn ended(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it writes UTF-8")
}

pub(crate) fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Checks that the bodies of messages are these numbers, in order.
pub(crate) fn expect_bodies(messages: &[Value], expected: RangeInclusive<u64>) {
    let bodies: Vec<_> = messages.iter().map(|message| message["body"].as_u64()).collect();
    let expected: Vec<_> = expected.map(Some).collect();
    if let Some(at) = bodies.iter().zip(&expected).position(|(body, wanted)| body != wanted) {
        panic!("body {at} is {:?}, not {:?}", bodies[at], expected[at]);
    }
    assert_eq!(bodies.len(), expected.len(), "so many messages came");
}

const LIMIT: Duration = Duration::from_secs(60);
