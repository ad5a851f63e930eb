//! The table of brokers that `test-brokers --list` prints.

use crate::brokers::{Tests, Transport};
use crate::table::Table;

/// Lists transports with their brokers, how those are had and which variables lead to them.
pub(crate) fn table(transports: &[&'static Transport]) -> Table {
    let mut table =
        Table::new(["transport", "broker", "variant", "version", "image", "variable", "tests"]);
    for transport in transports {
        if transport.brokers.is_empty() {
            let row = [transport.name, "-", "in process", "-", "-", "-", "all"];
            table.push(row.map(str::to_owned));
        }
        for (broker, variant) in transport.variants() {
            let tests = match variant.tests {
                Tests::All => "all",
                Tests::Conformance => "conformance",
            };
            let row = [
                transport.name,
                broker.name(),
                variant.name,
                broker.version(),
                broker.image(),
                variant.url,
                tests,
            ];
            table.push(row.map(str::to_owned));
        }
    }
    table
}
