//! Ends what this command started when it is interrupted, fails or panics.

use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::brokers::run::Run;

/// How long children have to end when asked to.
const PATIENCE: Duration = Duration::from_secs(15);

/// Listens for SIGINT, SIGTERM and SIGHUP, and knows what is to be ended then.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    started: Arc<Mutex<Started>>,
}

/// Brokers that are stopped when this value goes away, in whatever way.
#[derive(Debug)]
pub(crate) struct Guard {
    run: Option<Run>,
    keep_logs: bool,
    started: Arc<Mutex<Started>>,
}

/// What has been started and not ended.
#[derive(Debug, Default)]
struct Started {
    /// Process groups of children, by the id of their first process.
    children: Vec<u32>,
    /// Brokers.
    run: Option<Run>,
}

impl Interrupt {
    /// Starts to listen.
    pub(crate) fn new() -> Result<Self> {
        let started = Arc::new(Mutex::new(Started::default()));
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let shared = Arc::clone(&started);
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                // Held to the end: nothing more is started.
                let mut started = lock(&shared);
                eprintln!("interrupted, stopping what was started");
                for child in started.children.drain(..) {
                    end_group(child);
                }
                if let Some(run) = started.run.take()
                    && let Err(error) = run.stop(false)
                {
                    eprintln!("{error:#}");
                }
                process::exit(128 + signal);
            }
        });
        Ok(Self { started })
    }

    /// Makes sure that the brokers of a run are stopped.
    pub(crate) fn guard(&self, run: Run) -> Guard {
        lock(&self.started).run = Some(run.clone());
        Guard { run: Some(run), keep_logs: false, started: Arc::clone(&self.started) }
    }

    /// Runs a command to its end; `watch` gets the child, for instance to read its output.
    pub(crate) fn run<T>(
        &self,
        command: &mut Command,
        watch: impl FnOnce(&mut Child) -> T,
    ) -> Result<(ExitStatus, T)> {
        let mut child = {
            let mut started = lock(&self.started);
            // A group of its own, so that its own children can be ended with it.
            let child = command
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot run {:?}", command.get_program()))?;
            started.children.push(child.id());
            child
        };
        let watched = watch(&mut child);
        let status = child.wait()?;
        lock(&self.started).children.retain(|id| *id != child.id());
        Ok((status, watched))
    }
}

impl Guard {
    /// Leaves the logs where they are when the brokers are stopped.
    pub(crate) fn keep_logs(&mut self) {
        self.keep_logs = true;
    }

    /// Gives up the duty: the brokers stay, until somebody runs `stop-brokers`.
    pub(crate) fn release(mut self) -> Result<Run> {
        let run = self.run.take().context("brokers are stopped already")?;
        run.update(|state| {
            state.owner = None;
            Ok(())
        })?;
        lock(&self.started).run = None;
        Ok(run)
    }
}

impl Deref for Guard {
    type Target = Run;

    fn deref(&self) -> &Run {
        self.run.as_ref().expect("only release takes it, with the guard itself")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Whoever takes it from the shared place stops it: here or when interrupted, not both.
        let run = lock(&self.started).run.take();
        if let (Some(run), Some(_)) = (run, self.run.take())
            && let Err(error) = run.stop(self.keep_logs)
        {
            eprintln!("cannot stop brokers: {error:#}");
        }
    }
}

/// Ends a process group: asks first, since a member may have things of its own to end.
fn end_group(id: u32) {
    let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
        return;
    };
    // Every failure here means that the group is gone.
    let mut there = kill_process_group(group, Signal::TERM).is_ok();
    let deadline = Instant::now() + PATIENCE;
    while there && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
        there = test_kill_process_group(group).is_ok();
    }
    if there {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Locks; a panic elsewhere does not keep things from being ended.
fn lock(started: &Mutex<Started>) -> MutexGuard<'_, Started> {
    started.lock().unwrap_or_else(PoisonError::into_inner)
}
