//! The page `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::path::Path;

use super::Report;

/// The page: what it ran on, how it measures, the tables, how to read them.
pub(super) fn page(report: &Report, chart: Option<&Path>) -> String {
    let mut page = String::from(include_str!("opening.md"));
    page.push_str("\n## Machine\n\n| | |\n|---|---|\n");
    for (name, value) in &report.machine {
        let _infallible = writeln!(page, "| {name} | {value} |");
    }
    page.push('\n');
    page.push_str(include_str!("method.md"));
    page.push_str("\n## Results\n\n");
    if let Some(name) = chart.and_then(Path::file_name) {
        let _infallible = writeln!(page, "![ratios]({})\n", name.display());
    }
    for table in report.tables() {
        page.push_str(&table.markdown());
        page.push('\n');
    }
    page.push_str(include_str!("reading.md"));
    page
}
