//! Whether what the project aims at was reached.

use super::columns::{ratios, significant};
use super::table::Table;
use crate::case::{Aim, Measured, PYTHON, PYTHON_VALUES};
use crate::sample::{Sample, Spread};

/// One row per case with an aim.
pub(super) fn table(cases: &[Measured]) -> Option<Table> {
    let head = [
        "case",
        "rate ÷ raw",
        "aim",
        "CPU ÷ raw",
        "aim",
        "rate ÷ Kombu",
        "aim",
        "with values",
        "reached",
    ];
    let mut table = Table::new("Aims", &head);
    table.rows = cases.iter().filter_map(|case| Some(row(case, case.aim?))).collect();
    (!table.rows.is_empty()).then_some(table)
}

fn row(case: &Measured, aim: Aim) -> Vec<String> {
    let against = |other: &str, number: fn(&Sample) -> f64| {
        ratios(case.samples(aim.ours)?, case.samples(other)?, number)
    };
    let rate = against(aim.raw, Sample::rate);
    let cpu = against(aim.raw, Sample::cpu_micros);
    let peer = against(PYTHON, Sample::rate);
    let values = case
        .samples(aim.typed)
        .and_then(|samples| ratios(samples, case.samples(PYTHON_VALUES)?, Sample::rate));
    let reached = [
        reaches(rate, |spread| spread.median >= aim.rate, |spread| spread.most >= aim.rate),
        aim.cpu.map_or(Reached::Yes, |most| {
            reaches(cpu, |spread| spread.median <= most, |spread| spread.least <= most)
        }),
        aim.peer.map_or(Reached::Yes, |least| {
            reaches(peer, |spread| spread.median >= least, |spread| spread.most >= least)
        }),
    ];
    let shown = |spread: Option<Spread>| {
        spread.map_or_else(|| "-".to_owned(), |spread| significant(spread.median))
    };
    vec![
        case.title.clone(),
        shown(rate),
        format!("≥ {}", aim.rate),
        shown(cpu),
        aim.cpu.map_or_else(|| "-".to_owned(), |most| format!("≤ {most}")),
        shown(peer),
        aim.peer.map_or_else(|| "-".to_owned(), |least| format!("≥ {least}")),
        shown(values),
        reached.into_iter().max().unwrap_or(Reached::Unknown).word().to_owned(),
    ]
}

/// How far an aim was reached, the worse the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Yes,
    /// In some rounds, but not in the middle one.
    Nearly,
    No,
    /// The other side took no part.
    Unknown,
}

impl Reached {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Nearly => "within the spread",
            Self::No => "no",
            Self::Unknown => "not measured",
        }
    }
}

fn reaches(
    spread: Option<Spread>,
    median: impl Fn(Spread) -> bool,
    any: impl Fn(Spread) -> bool,
) -> Reached {
    match spread {
        None => Reached::Unknown,
        Some(spread) if median(spread) => Reached::Yes,
        Some(spread) if any(spread) => Reached::Nearly,
        Some(_) => Reached::No,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::case::Kind;

    fn measured(ours: [u64; 3]) -> Measured {
        let samples = |rates: [u64; 3]| {
            let wall = Duration::from_secs(1);
            rates.map(|messages| Sample { messages, wall, cpu: wall, ..Sample::default() }).to_vec()
        };
        Measured {
            title: "case".to_owned(),
            kind: Kind::Publish,
            aim: Some(Aim {
                ours: "a",
                typed: "t",
                raw: "b",
                rate: 1.0,
                cpu: None,
                peer: Some(2.0),
            }),
            rows: vec![("a", samples(ours)), ("b", samples([100; 3])), (PYTHON, samples([10; 3]))],
        }
    }

    #[test]
    fn the_median_decides() {
        for (ours, word) in
            [([100, 110, 90], "yes"), ([90, 95, 101], "within the spread"), ([50, 60, 70], "no")]
        {
            let table = table(&[measured(ours)]).unwrap();
            assert_eq!(table.rows[0].last().unwrap(), word, "{ours:?}");
        }
    }

    #[test]
    fn a_side_that_took_no_part_is_no_success() {
        let mut measured = measured([200; 3]);
        measured.rows.pop();
        assert_eq!(table(&[measured]).unwrap().rows[0].last().unwrap(), "not measured");
    }
}
