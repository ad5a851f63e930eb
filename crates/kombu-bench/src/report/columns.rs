//! Which numbers stand in which column.

use super::table::Table;
use crate::case::{Kind, Measured, peer_of};
use crate::resident::Resident;
use crate::sample::{Sample, Spread};
use crate::weight::Weight;

/// A case: one row per contender.
pub(super) fn of_case(case: &Measured) -> Table {
    let raw = case.rows.iter().map(|(name, _)| *name).find(|name| BASES.contains(name));
    let raw = raw.and_then(|name| case.samples(name));
    let about_latency = case.kind == Kind::Latency;
    let mut table = Table::new(case.title.as_str(), if about_latency { LATENCY } else { RATE });
    for (name, samples) in &case.rows {
        let mut row = vec![(*name).to_owned()];
        if about_latency {
            row.extend(latency(samples));
        } else {
            row.extend(rate(samples));
            row.push(ratio(samples, raw, Sample::rate));
            row.push(ratio(samples, raw, Sample::cpu_micros));
            row.push(ratio(samples, case.samples(peer_of(name)), Sample::rate));
        }
        table.rows.push(row);
    }
    table
}

fn rate(samples: &[Sample]) -> Vec<String> {
    let rates = Spread::of(samples.iter().map(Sample::rate));
    let cpu = Spread::of(samples.iter().map(Sample::cpu_micros));
    let broker = Spread::of(samples.iter().filter_map(Sample::broker_micros));
    vec![
        rates.map_or_else(none, |rates| thousands(rates.median)),
        rates.map_or_else(none, |rates| {
            format!("{}–{}", thousands(rates.least), thousands(rates.most))
        }),
        cpu.map_or_else(none, |cpu| significant(cpu.median)),
        broker.map_or_else(none, |broker| significant(broker.median)),
    ]
}

fn latency(samples: &[Sample]) -> Vec<String> {
    let percentile = |percent| {
        let micros = samples.iter().filter_map(|sample| sample.latency_micros(percent));
        Spread::of(micros).map_or_else(none, |spread| {
            let (median, least, most) =
                (significant(spread.median), significant(spread.least), significant(spread.most));
            format!("{median} ({least}–{most})")
        })
    };
    let cpu = Spread::of(samples.iter().map(Sample::cpu_micros));
    vec![percentile(50), percentile(99), cpu.map_or_else(none, |cpu| significant(cpu.median))]
}

/// The ratio to another contender, round by round.
pub(super) fn ratios(
    samples: &[Sample],
    others: &[Sample],
    number: fn(&Sample) -> f64,
) -> Option<Spread> {
    Spread::of(samples.iter().zip(others).map(|(sample, other)| number(sample) / number(other)))
}

fn ratio(samples: &[Sample], others: Option<&[Sample]>, number: fn(&Sample) -> f64) -> String {
    others.and_then(|others| ratios(samples, others, number)).map_or_else(none, |spread| {
        let (median, least, most) =
            (significant(spread.median), significant(spread.least), significant(spread.most));
        format!("{median} ({least}–{most})")
    })
}

/// Memory: one row per process.
pub(super) fn of_resident(all: &[Resident]) -> Table {
    let head = ["process", "broker", "does", "first MiB", "peak MiB"];
    let mut table = Table::new("Resident memory, 100 B", &head);
    for resident in all {
        let mib = |kib: u64| significant(kib as f64 / 1024.0);
        table.rows.push(vec![
            resident.who.to_owned(),
            resident.broker.to_owned(),
            resident.what.clone(),
            mib(resident.memory.first),
            mib(resident.memory.peak),
        ]);
    }
    table
}

/// Weight: one row per set of features.
pub(super) fn of_weight(weights: &[Weight]) -> Table {
    let head = ["features of kombu", "crates", "cold build, dev", "cold build, release"];
    let mut table = Table::new("Weight", &head);
    for weight in weights {
        let seconds = |time: std::time::Duration| format!("{:.0} s", time.as_secs_f64());
        let (dev, release) = weight
            .builds
            .map_or_else(|| (none(), none()), |(dev, release)| (seconds(dev), seconds(release)));
        table.rows.push(vec![weight.features.to_owned(), weight.crates.to_string(), dev, release]);
    }
    table
}

/// Three digits that count, or all before the point.
pub(super) fn significant(number: f64) -> String {
    let digits = match number.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

/// A whole number with its thousands apart.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn none() -> String {
    "-".to_owned()
}

/// The contenders that the ratios of a case refer to.
const BASES: [&str; 8] = [
    "raw amqprs",
    "raw etcd-client",
    "raw files",
    "raw fred, by hand",
    "raw fred",
    "raw sqlx, batched",
    "raw zookeeper-client",
    "tokio channel and map",
];
const RATE: &[&str] = &[
    "contender",
    "msg/s",
    "spread",
    "client µs/msg",
    "broker µs/msg",
    "rate ÷ raw",
    "CPU ÷ raw",
    "rate ÷ Kombu",
];
const LATENCY: &[&str] = &["contender", "p50 µs", "p99 µs", "client µs/msg"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn sample(messages: u64) -> Sample {
        Sample { messages, wall: Duration::from_secs(1), ..Sample::default() }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        let shown: Vec<_> = [1234.5, 12.34, 1.234, 0.0123].map(significant).into();
        assert_eq!(shown, ["1234", "12.3", "1.23", "0.012"]);
    }

    #[test]
    fn ratios_are_made_round_by_round() {
        let spread =
            ratios(&[sample(10), sample(40)], &[sample(10), sample(20)], Sample::rate).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 1.5, 2.0));
    }
}
