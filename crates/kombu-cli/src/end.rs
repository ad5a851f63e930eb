//! How a command ends: its exit code, and the one line that says what failed.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

/// A command that did what it could.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Done,
    TimedOut,
    Interrupted,
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed, for the reason in this line.
    Failed(String),
    /// Nobody reads the output any more: no more is said.
    OutputClosed,
    /// An interrupt came before there was anything to put in order.
    Interrupted,
}

/// What comes of a command.
pub(crate) type Outcome = Result<End, Stop>;

impl Stop {
    /// A failure to do `what`.
    pub(crate) fn failed(what: impl Display, cause: impl Error) -> Self {
        Self::Failed(format!("{what}: {}", with_causes(&cause)))
    }

    /// A failure to write the output.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Failed(format!("cannot write the output: {error}"))
        }
    }

    /// A wrong argument, file or line.
    pub(crate) fn said(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl From<kombu::Error> for Stop {
    fn from(error: kombu::Error) -> Self {
        Self::Failed(with_causes(&error))
    }
}

/// Prints what failed, and gives the exit code.
pub(crate) fn report(outcome: Outcome) -> ExitCode {
    ExitCode::from(match outcome {
        Ok(End::Done) => 0,
        Ok(End::TimedOut) => 3,
        Ok(End::Interrupted) | Err(Stop::Interrupted) => INTERRUPTED,
        Err(Stop::OutputClosed) => 1,
        Err(Stop::Failed(line)) => {
            let _closed = writeln!(io::stderr(), "kombu: {}", in_one_line(&line));
            1
        }
    })
}

/// An error and what is below it; causes that its text has already are left out.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

fn in_one_line(text: &str) -> String {
    text.split(|c: char| c.is_control())
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The exit code of a command that was interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once_and_in_one_line() {
        let cause = io::Error::other("port closed");
        let error = kombu::Error::lost("no broker").caused_by(cause).during("connect");
        let Stop::Failed(line) = Stop::from(error) else { panic!("it failed") };
        assert_eq!(line, "cannot connect: connection lost: no broker: port closed");

        let error = kombu::Error::lost("port closed").caused_by(io::Error::other("port closed"));
        let Stop::Failed(line) = Stop::from(error) else { panic!("it failed") };
        assert_eq!(line, "connection lost: port closed");
        assert_eq!(in_one_line("a\r\nb\tc\n"), "a b c");
    }
}
