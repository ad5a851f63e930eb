//! Processes of the operating system: started apart from this one, looked at through `/proc`, ended by id.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process as the state file keeps it: how to start it, and which one it is while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Process {
    /// What logs and messages call it.
    pub(crate) name: String,
    /// Whether it serves clients; a helper (such as a name service) outlives restarts of the server.
    pub(crate) server: bool,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The file that its output is appended to.
    pub(crate) log: PathBuf,
    /// Which process it is, once started.
    pub(crate) id: Option<Identity>,
}

/// A process id together with its start time, so that a reused number is never taken for the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The process id.
    pub(crate) pid: i32,
    /// Clock ticks from boot to its start.
    pub(crate) started: u64,
}

/// What a process is doing, as far as starting and stopping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It is gone, or a zombie that nobody has collected.
    Gone,
    /// It runs or sleeps.
    Running,
    /// A signal has stopped it.
    Stopped,
}

impl Identity {
    /// Identifies a process that runs now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let pid = i32::try_from(pid).context("a process id beyond 31 bits")?;
        let (_, started) = stat(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(Self { pid, started })
    }

    /// Identifies this process.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    /// Says what the process is doing.
    pub(crate) fn condition(self) -> Condition {
        match stat(self.pid) {
            Some((_, started)) if started != self.started => Condition::Gone,
            None => Condition::Gone,
            // Its other threads may still be ending, and have its files and ports until then.
            Some(('Z' | 'X', _)) if threads(self.pid) <= 1 => Condition::Gone,
            Some(('T', _)) => Condition::Stopped,
            Some(_) => Condition::Running,
        }
    }

    /// Sends a signal; a process that is gone needs none.
    pub(crate) fn signal(self, signal: Signal) -> Result<()> {
        if self.condition() == Condition::Gone {
            return Ok(());
        }
        let pid = Pid::from_raw(self.pid).context("0 is no process id")?;
        match kill_process(pid, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot signal process {pid}", pid = self.pid))
            }
        }
    }

    /// Waits until the process has the condition.
    pub(crate) fn wait_for(self, condition: Condition, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.condition() != condition {
            if Instant::now() > deadline {
                bail!("process {} is not {condition:?} after {limit:?}", self.pid);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The processes that this one has started and that still run.
    pub(crate) fn children(self) -> Vec<Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let status = fs::read_to_string(entry.path().join("status")).ok()?;
                let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
                (parent.trim().parse() == Ok(self.pid)).then(|| Self::of(pid).ok())?
            })
            .collect()
    }

    /// Ends the process: asks, waits, and kills what has not ended by then.
    pub(crate) fn end(self, ask: Signal, patience: Duration) -> Result<()> {
        // A stopped process only hears it once it continues.
        self.signal(ask)?;
        self.signal(Signal::CONT)?;
        if self.wait_for(Condition::Gone, patience).is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills the process at once and waits until it is gone.
    pub(crate) fn kill(self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_for(Condition::Gone, Duration::from_secs(10))
    }
}

impl Process {
    /// Starts the process in a session of its own, so that it outlives this one and hears none of its signals.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = Command::new("setsid")
            .args(&self.command)
            .env_clear()
            .envs(&self.env)
            // Whatever it drops where it stands, such as a crash dump, is beside its log.
            .current_dir(self.log.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        self.id = Some(Identity::of(child.id())?);
        Ok(())
    }

    /// Says what the process is doing; one that was never started is gone.
    pub(crate) fn condition(&self) -> Condition {
        self.id.map_or(Condition::Gone, Identity::condition)
    }

    /// Returns the last lines of its output, for an error message.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// Reads the state letter and the start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, these included.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

/// How many threads of a process there are, the dead first one included.
fn threads(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_runs() {
        let own = Identity::own().unwrap();
        assert_eq!(own.condition(), Condition::Running);
    }

    #[test]
    fn a_reused_number_is_another_process() {
        let own = Identity::own().unwrap();
        let other = Identity { started: own.started + 1, ..own };
        assert_eq!(other.condition(), Condition::Gone);
    }

    #[test]
    fn a_zombie_counts_as_gone() {
        let mut child = Command::new("true").spawn().unwrap();
        let id = Identity::of(child.id()).unwrap();
        id.wait_for(Condition::Gone, Duration::from_secs(10)).unwrap();
        child.wait().unwrap();
    }
}
