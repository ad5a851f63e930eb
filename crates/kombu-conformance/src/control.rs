//! What can be done to a broker, so that the suite sees how a transport takes it.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use kombu_core::{Error, ErrorKind, Result};
use tokio::process::Command;

/// Something that happens to brokers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// The alarm is over.
    ClearAlarm,
    /// The server is killed, and started again.
    Crash,
    /// The server closes all connections.
    DropConnections,
    /// The server is killed.
    Kill,
    /// The server freezes: it neither answers nor goes.
    Pause,
    /// The server is stopped in good order, and started again.
    Restart,
    /// The server goes on after a pause.
    Resume,
    /// The server takes no messages any more: it is short of memory, or says so.
    SetAlarm,
    /// The server is started after it was killed.
    Start,
    /// The broker inside the server is started again.
    StartApp,
    /// The broker inside the server is stopped; the server's process stays.
    StopApp,
}

impl Action {
    /// The name that `cargo xtask control` has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClearAlarm => "clear-alarm",
            Self::Crash => "crash",
            Self::DropConnections => "drop-connections",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Resume => "resume",
            Self::SetAlarm => "set-alarm",
            Self::Start => "start",
            Self::StartApp => "start-app",
            Self::StopApp => "stop-app",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Acts on a broker. The suite calls it from cases that run alone.
#[async_trait]
pub trait BrokerControl: Debug + Send + Sync + 'static {
    /// Does it, and returns when its effect shows: a started broker serves, a stopped one is gone.
    ///
    /// # Errors
    ///
    /// `Unsupported` for what this broker does not have: the case is ignored. Any other error
    /// fails the case.
    async fn act(&self, action: Action) -> Result<()>;
}

/// Runs a command with the action's name as its last argument.
///
/// This is what `KOMBU_TEST_<name>_CONTROL` holds: a program and its arguments, separated by
/// spaces. It returns when the effect shows, fails otherwise, and says `has no action` on its
/// standard error for an action that it does not know.
#[derive(Clone, Debug)]
pub struct CommandControl {
    words: Vec<String>,
}

impl CommandControl {
    /// Splits a command at its spaces.
    #[must_use]
    pub fn new(command: &str) -> Self {
        Self { words: command.split_whitespace().map(str::to_owned).collect() }
    }

    /// Runs it with this last argument.
    pub(crate) async fn run(&self, action: &str) -> Result<()> {
        let failed = |message: String| Error::new(ErrorKind::Other, message).with("action", action);
        let (program, arguments) =
            self.words.split_first().ok_or_else(|| failed("the command is empty".to_owned()))?;
        let output = Command::new(program)
            .args(arguments)
            .arg(action)
            .output()
            .await
            .map_err(|error| failed(format!("cannot run {program}: {error}")))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() {
            Ok(())
        } else if said.contains("has no action") {
            Err(Error::new(ErrorKind::Unsupported, said))
        } else {
            Err(failed(format!("{program} ended with {}: {said}", output.status)))
        }
    }
}

#[async_trait]
impl BrokerControl for CommandControl {
    async fn act(&self, action: Action) -> Result<()> {
        self.run(action.as_str()).await
    }
}
