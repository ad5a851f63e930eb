//! What is compared: a case, and who takes part in it.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;

use crate::body::Body;
use crate::broker::Broker;
use crate::sample::Sample;
use crate::work::Work;

/// One way to do a case's work.
#[async_trait]
pub(crate) trait Contender: Debug + Send + Sync {
    /// What tables call it.
    fn name(&self) -> &'static str;

    /// Does the work: connects, starts the clocks, does it to the end, stops the clocks, closes.
    async fn run(&self, work: &Work) -> Result<Sample>;
}

/// Work that several contenders do.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) broker: Option<Broker>,
    pub(crate) body: Body,
    pub(crate) prefetch: u16,
    pub(crate) window: usize,
    /// The most messages of one run.
    pub(crate) most: u64,
    pub(crate) contenders: Vec<Arc<dyn Contender>>,
    pub(crate) aim: Option<Aim>,
}

/// What happens to the queue of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It holds so many messages more than a run takes.
    Among(u64),
    /// It is filled before a run and empty after it.
    Consume,
    /// There is none that others see.
    InProcess,
    /// It is empty before and after a run, which measures one message at a time.
    Latency,
    /// It is empty before a run and full after it.
    Publish,
}

/// What the project wants to reach in a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    /// Whose ratios count, where bodies are bytes.
    pub(crate) ours: &'static str,
    /// Who does the same with values.
    pub(crate) typed: &'static str,
    /// Against this raw contender …
    pub(crate) raw: &'static str,
    /// … at least this share of its rate …
    pub(crate) rate: f64,
    /// … with at most this multiple of its CPU.
    pub(crate) cpu: Option<f64>,
    /// At least this multiple of the rate of Python's Kombu, bytes against bytes.
    pub(crate) peer: Option<f64>,
}

/// A case that was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) title: String,
    pub(crate) kind: Kind,
    pub(crate) aim: Option<Aim>,
    /// The contenders' names, and their sample of each round.
    pub(crate) rows: Vec<(&'static str, Vec<Sample>)>,
}

impl Measured {
    /// A contender's samples.
    pub(crate) fn samples(&self, name: &str) -> Option<&[Sample]> {
        self.rows.iter().find(|(row, _)| *row == name).map(|(_, samples)| samples.as_slice())
    }
}

/// Whom of Python's Kombu a contender is compared with: bytes with bytes, values with values.
pub(crate) fn peer_of(name: &str) -> &'static str {
    if name.ends_with("values") { PYTHON_VALUES } else { PYTHON }
}

/// What tables call Python's Kombu, with bytes and with values.
pub(crate) const PYTHON: &str = "Python Kombu";
pub(crate) const PYTHON_VALUES: &str = "Python Kombu, values";
