//! What can be asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::resident::Role;

/// Compares Kombu for Rust with raw drivers and with Python's Kombu.
///
/// Needs `KOMBU_TEST_AMQP_URL` for `amqp`, `KOMBU_TEST_REDIS_URL` for `redis`, the same for
/// `etcd` and `zookeeper`, and `KOMBU_INTEROP_PYTHON` (an interpreter with the packages of interop/requirements.txt) for the
/// rows of Python's Kombu. `cargo xtask bench` sets both.
#[derive(Debug, Parser)]
#[command(name = "kombu-bench")]
pub(crate) struct Flags {
    /// What to measure; everything if nothing is named.
    parts: Vec<Part>,
    /// A few short rounds, to see that it works: the numbers mean nothing.
    #[arg(long)]
    quick: bool,
    /// Rounds; in each, every contender runs once, in an order of its own [default: 5].
    #[arg(long)]
    rounds: Option<usize>,
    /// About how long one run takes, in seconds [default: 0.8].
    #[arg(long)]
    seconds: Option<f64>,
    /// Measures only cases whose title has this in it.
    #[arg(long)]
    pub(crate) only: Option<String>,
    /// Measures only the contender of this name, else those whose name has this in it.
    #[arg(long)]
    contender: Option<String>,
    /// Writes the report as Markdown.
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
    /// Writes a chart of the ratios; the Markdown shows it.
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    /// Runs as the fresh process whose memory is measured.
    #[arg(long, hide = true)]
    pub(crate) resident: Option<Role>,
    /// The broker of that process.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) url: String,
    /// The queue of that process.
    #[arg(long, hide = true, default_value = "")]
    pub(crate) queue: String,
    /// How many messages it handles.
    #[arg(long, hide = true, default_value_t = 0)]
    pub(crate) count: u64,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The transport inside the process, against a channel of tokio.
    Memory,
    /// `RabbitMQ`, against amqprs and lapin; also the memory that clients take.
    Amqp,
    /// Folders, against files by hand.
    Filesystem,
    /// Redis, against fred; also the memory that clients take.
    Redis,
    /// SQLite, against sqlx.
    Sql,
    /// etcd, against etcd-client.
    Etcd,
    /// `ZooKeeper`, against zookeeper-client.
    Zookeeper,
    /// Crates in the graph, and how long a cold build takes.
    Weight,
}

/// How much to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// About how long one run takes.
    pub(crate) run: Duration,
    /// Messages of the first run of a contender, which finds out how many to take.
    pub(crate) first: u64,
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    pub(crate) contender: Option<String>,
}

impl Flags {
    /// The parts to measure.
    pub(crate) fn parts(&self) -> Vec<Part> {
        if !self.parts.is_empty() {
            return self.parts.clone();
        }
        vec![
            Part::Memory,
            Part::Amqp,
            Part::Filesystem,
            Part::Redis,
            Part::Sql,
            Part::Etcd,
            Part::Zookeeper,
            Part::Weight,
        ]
    }

    /// How much to measure.
    pub(crate) fn plan(&self) -> Plan {
        let (rounds, seconds, first) = if self.quick { (2, 0.05, 100) } else { (5, 0.8, 2000) };
        Plan {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            run: Duration::try_from_secs_f64(self.seconds.unwrap_or(seconds)).unwrap_or_default(),
            first,
            quick: self.quick,
            only: self.only.clone(),
            contender: self.contender.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_measured_unless_something_is_named() {
        assert_eq!(Flags::parse_from(["kombu-bench"]).parts(), Part::value_variants());
        assert_eq!(Flags::parse_from(["kombu-bench", "amqp"]).parts(), [Part::Amqp]);
    }
}
