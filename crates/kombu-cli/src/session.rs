//! What a command works with: transports, input, output and the wish to end.

use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};

use kombu::transport::TransportRegistry;

use crate::end::Stop;
use crate::interrupt::Interrupt;

/// The surroundings of a command: those of the process, or a test's.
pub(crate) struct Session {
    pub(crate) registry: TransportRegistry,
    pub(crate) interrupt: Interrupt,
    /// Taken by the command that reads it.
    pub(crate) input: Option<Box<dyn BufRead + Send>>,
    pub(crate) out: Box<dyn Write>,
    pub(crate) err: Box<dyn Write>,
    /// Whether a person watches standard error.
    pub(crate) watched: bool,
    /// Whether a person watches standard output.
    pub(crate) shown: bool,
}

impl Session {
    /// The process's own.
    pub(crate) fn of_process(interrupt: Interrupt) -> Self {
        Self {
            registry: kombu::transports::enabled(),
            interrupt,
            input: Some(Box::new(BufReader::new(io::stdin()))),
            out: Box::new(io::stdout().lock()),
            err: Box::new(io::stderr()),
            watched: io::stderr().is_terminal(),
            shown: io::stdout().is_terminal(),
        }
    }

    /// Writes a line of output, and makes sure that it is out.
    pub(crate) fn print(&mut self, line: &[u8]) -> Result<(), Stop> {
        let written = self.out.write_all(line).and_then(|()| self.out.flush());
        written.map_err(|error| Stop::output(&error))
    }

    /// Tells the user something beside the output.
    pub(crate) fn say(&mut self, line: &str) {
        let _closed = writeln!(self.err, "{line}");
    }
}
