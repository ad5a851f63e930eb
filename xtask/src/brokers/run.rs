//! A run: the brokers that one command started, kept in a folder so that other commands can act on them.
//!
//! The state file in that folder is the only truth. Every change locks it, reads it, acts, and writes it, so
//! that a control command which restarts a broker and the run that will stop it agree on process ids.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::brokers::node::Node;
use crate::brokers::process::{Condition, Identity};
use crate::paths;

/// The variable that names the state file of the brokers a test talks to.
pub(crate) const STATE_VARIABLE: &str = "KOMBU_BROKERS_STATE";
/// The variable that marks every process of a run with the run's folder.
pub(crate) const MARK: &str = "KOMBU_BROKERS_RUN";

/// The folder of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    dir: PathBuf,
}

/// What the state file holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// The command that will stop the brokers; none if they were left running on purpose.
    pub(crate) owner: Option<Identity>,
    /// Set when the run is being stopped: nothing may start any more.
    pub(crate) closed: bool,
    /// The brokers.
    pub(crate) nodes: Vec<Node>,
}

/// Who will stop the brokers of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Somebody, by `stop-brokers`: they were left running on purpose.
    Kept,
    /// Nobody: the command that would have has died.
    Orphaned,
    /// A command that still runs.
    Owned,
}

impl Run {
    /// Makes the folder of a new run, owned by this process, with a copy of this program for control commands.
    pub(crate) fn create() -> Result<Self> {
        let own = Identity::own()?;
        let dir = paths::runs()?.join(format!("{}-{}", own.pid, own.started));
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let run = Self { dir };
        // Building may replace the program that runs now; the copy stays for as long as the brokers do.
        fs::copy(env::current_exe()?, run.program())?;
        run.save(&State { owner: Some(own), ..State::default() })?;
        Ok(run)
    }

    /// Finds the run that a state file belongs to.
    pub(crate) fn of_state(state: &Path) -> Result<Self> {
        let dir = state.parent().context("a state file is in a folder")?;
        let run = Self { dir: dir.to_owned() };
        run.load()?;
        Ok(run)
    }

    /// Finds the run that the environment names, or that this program was copied for.
    pub(crate) fn current() -> Result<Option<Self>> {
        if let Some(state) = env::var_os(STATE_VARIABLE) {
            return Self::of_state(Path::new(&state)).map(Some);
        }
        let beside = env::current_exe()?.with_file_name("state.json");
        beside.exists().then(|| Self::of_state(&beside)).transpose()
    }

    /// Lists all runs of this user.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let mut runs = Vec::new();
        for entry in fs::read_dir(paths::runs()?)? {
            let dir = entry?.path();
            if dir.join("state.json").exists() {
                runs.push(Self { dir });
            }
        }
        Ok(runs)
    }

    /// The run's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run's name.
    pub(crate) fn name(&self) -> String {
        let name = self.dir.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The state file.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    /// The copy of this program.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("xtask")
    }

    /// Reads the state.
    pub(crate) fn load(&self) -> Result<State> {
        let file = self.state_file();
        let text = fs::read_to_string(&file)
            .with_context(|| format!("no brokers at {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot read {}", file.display()))
    }

    /// Changes the state while nobody else does.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let _lock = lock(&self.dir.join("lock"))?;
        let mut state = self.load()?;
        let result = change(&mut state);
        // Also after a failure: whatever was started by then must be found again.
        self.save(&state)?;
        result
    }

    /// Stops all brokers and removes the folder, or leaves their logs in it.
    pub(crate) fn stop(&self, keep_logs: bool) -> Result<()> {
        let stopped = self.update(|state| {
            state.closed = true;
            state.nodes.iter().try_for_each(Node::discard)
        });
        // A control command that was killed half way may have started a process and not noted it.
        for id in self.marked_processes() {
            id.kill()?;
        }
        stopped?;
        if keep_logs {
            fs::remove_file(self.state_file())?;
            fs::remove_file(self.program())?;
        } else {
            fs::remove_dir_all(&self.dir)?;
        }
        Ok(())
    }

    /// Says who will stop the brokers.
    pub(crate) fn fate(&self) -> Result<Fate> {
        Ok(match self.load()?.owner {
            None => Fate::Kept,
            Some(owner) if owner.condition() == Condition::Gone => Fate::Orphaned,
            Some(_) => Fate::Owned,
        })
    }

    /// Tells the user how to stop brokers that stay.
    pub(crate) fn say_how_to_stop(&self) {
        eprintln!("to stop the brokers: cargo xtask stop-brokers {}", self.name());
    }

    /// Writes the state in one step, so that a reader never sees half of it.
    fn save(&self, state: &State) -> Result<()> {
        let draft = self.dir.join("state.draft");
        fs::write(&draft, serde_json::to_string_pretty(state)?)?;
        fs::rename(&draft, self.state_file())?;
        Ok(())
    }

    /// The processes that carry the run's mark in their environment.
    fn marked_processes(&self) -> Vec<Identity> {
        let mark = format!("{MARK}={}", self.dir.display()).into_bytes();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let pid = entry.file_name().to_str()?.parse().ok()?;
                let environment = fs::read(entry.path().join("environ")).ok()?;
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable == mark)
                    .then(|| Identity::of(pid).ok())?
            })
            .collect()
    }
}

/// Ports that brokers of other runs use or will use again.
pub(crate) fn taken_ports() -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for run in Run::all()? {
        // A run that ends meanwhile takes no ports.
        let nodes = run.load().map(|state| state.nodes).unwrap_or_default();
        ports.extend(nodes.iter().flat_map(|node| node.ports.values()));
    }
    Ok(ports)
}

/// Waits for a lock that is held until the returned file is dropped.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    file.lock()?;
    Ok(file)
}
