//! Every command and option, declared once.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::brokers::docker;

/// The workspace's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = false)]
pub(crate) struct Flags {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What xtask can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Starts brokers and leaves them running; prints the variables that tests find them by.
    StartBrokers(StartBrokers),
    /// Stops brokers that were left running.
    StopBrokers(StopBrokers),
    /// Acts on a running broker: restart, crash, stop, kill, start, pause, resume and what else it has.
    Control(Control),
    /// Runs the transports' tests and the exchanges with Python Kombu on real brokers.
    TestBrokers(TestBrokers),
    /// Runs the exchanges with Python Kombu and the command's tests, without the transports' own.
    Interop(TestBrokers),
    /// Compares with raw drivers and with Python Kombu, on brokers started for it; without any argument also
    /// writes docs/benchmarks.md.
    Bench(Bench),
    /// Checks the house rules.
    Tidy,
    /// Checks that the umbrella builds with none of its features, with each alone, and with all.
    Features,
    /// Checks the dependency graph against deny.toml.
    Licences,
    /// Runs everything that must hold before a change is taken.
    Ci(Ci),
}

/// Where brokers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// This machine's packages, installed if missing, as processes in a temporary folder.
    Local,
    /// The services of docker-compose.yml.
    Docker,
    /// Brokers that run already, given by `KOMBU_TEST_<TRANSPORT>_URL`.
    Env,
}

/// Options of `test-brokers` and `interop`.
#[derive(Debug, Args)]
pub(crate) struct TestBrokers {
    /// The transports to test; all if none is named.
    pub(crate) transports: Vec<String>,
    /// Where the brokers come from [default: docker if an engine answers, else local].
    #[arg(long, value_enum)]
    pub(crate) with: Option<With>,
    /// Leaves the brokers running and prints the variables that lead to them.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Prints what there is to test on, and does nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Arguments of the test programs, such as a part of a test's name.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `start-brokers`.
#[derive(Debug, Args)]
pub(crate) struct StartBrokers {
    /// The transports to start brokers for; all if none is named.
    pub(crate) transports: Vec<String>,
    /// Where they come from [default: docker if an engine answers, else local].
    #[arg(long, value_enum)]
    pub(crate) with: Option<With>,
}

/// Options of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The transports to compare, and `weight` for what crates weigh; all if none is named.
    pub(crate) transports: Vec<String>,
    /// Where the brokers come from [default: docker if an engine answers, else local].
    #[arg(long, value_enum)]
    pub(crate) with: Option<With>,
    /// Arguments of the benchmark.
    #[arg(last = true)]
    pub(crate) arguments: Vec<String>,
}

/// Options of `stop-brokers`.
#[derive(Debug, Args)]
pub(crate) struct StopBrokers {
    /// The runs to stop, as `start-brokers` names them; without a name the one that
    /// `KOMBU_BROKERS_STATE` means, else the only one.
    pub(crate) runs: Vec<String>,
    /// Stops all that were left running.
    #[arg(long)]
    pub(crate) all: bool,
}

/// Options of `ci`.
#[derive(Debug, Args)]
pub(crate) struct Ci {
    /// The transports whose brokers are started and tested; all if none is named.
    pub(crate) transports: Vec<String>,
}

/// Options of `control`.
#[derive(Debug, Args)]
pub(crate) struct Control {
    /// The broker's name, as `test-brokers --list` has it.
    pub(crate) broker: String,
    /// What to do to it.
    pub(crate) action: String,
}

impl Default for With {
    /// Containers where an engine answers, this machine's packages where none does.
    fn default() -> Self {
        if docker::engine_answers() { Self::Docker } else { Self::Local }
    }
}
