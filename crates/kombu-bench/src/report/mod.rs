//! What was measured, for people: on a terminal, as Markdown, as a chart.

mod aims;
mod chart;
mod columns;
mod markdown;
mod table;

use std::fmt::Write as _;
use std::path::Path;

use crate::case::Measured;
use crate::resident::Resident;
use crate::weight::Weight;
use table::Table;

/// Everything that one call measured.
#[derive(Debug)]
pub(crate) struct Report {
    /// What it ran on: names and values.
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) cases: Vec<Measured>,
    pub(crate) resident: Vec<Resident>,
    pub(crate) weight: Vec<Weight>,
}

impl Report {
    /// One without measurements.
    pub(crate) fn new(machine: Vec<(String, String)>) -> Self {
        Self { machine, cases: Vec::new(), resident: Vec::new(), weight: Vec::new() }
    }

    /// Aligned tables.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            let _infallible = writeln!(text, "{name:16} {value}");
        }
        for table in self.tables() {
            let _infallible = write!(text, "\n{}", table.text());
        }
        text
    }

    /// A page.
    pub(crate) fn markdown(&self, chart: Option<&Path>) -> String {
        markdown::page(self, chart)
    }

    /// A chart of the ratios.
    pub(crate) fn svg(&self) -> String {
        chart::draw(&self.cases)
    }

    /// Every table, the aims first.
    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        tables.extend(aims::table(&self.cases));
        tables.extend(self.cases.iter().map(columns::of_case));
        if !self.resident.is_empty() {
            tables.push(columns::of_resident(&self.resident));
        }
        if !self.weight.is_empty() {
            tables.push(columns::of_weight(&self.weight));
        }
        tables
    }
}
