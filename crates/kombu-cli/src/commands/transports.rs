//! `kombu transports`.

use std::collections::BTreeMap;

use clap::Args;
use kombu::codec::json;
use kombu::transport::{Capabilities, KNOWN_SCHEMES, PriorityOrder, TransportRegistry};
use serde::Serialize;

use crate::end::{End, Outcome};
use crate::session::Session;

/// Lists the transports, and what their brokers can do.
///
/// Of each: the feature that brings it, whether this command was built with it, its URL schemes,
/// and, if it was, the capabilities of its brokers.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kombu transports
  kombu transports --json | jq '.[] | select(.compiled_in) | .schemes'")]
pub(crate) struct Transports {
    /// Prints a list of objects instead of tables.
    #[arg(long)]
    json: bool,
}

impl Transports {
    pub(crate) fn run(self, session: &mut Session) -> Outcome {
        let transports = known(&session.registry);
        let text = if self.json {
            let mut text = json::write(&transports)?;
            text.push(b'\n');
            text
        } else {
            tables(&transports).into_bytes()
        };
        session.print(&text)?;
        Ok(End::Done)
    }
}

/// A transport, compiled in or not.
#[derive(Serialize)]
struct Known {
    feature: String,
    schemes: Vec<&'static str>,
    compiled_in: bool,
    capabilities: Option<Promises>,
}

/// What a transport's brokers can do.
#[derive(Serialize)]
struct Promises {
    #[serde(flatten)]
    promises: BTreeMap<&'static str, bool>,
    priority_order: Option<&'static str>,
    max_message_bytes: Option<u64>,
}

impl From<Capabilities> for Promises {
    fn from(capabilities: Capabilities) -> Self {
        let order = match capabilities.priority_order {
            PriorityOrder::HighFirst => "high first",
            PriorityOrder::LowFirst => "low first",
        };
        Self {
            promises: capabilities.iter().collect(),
            priority_order: capabilities.priority.then_some(order),
            max_message_bytes: capabilities.max_message_bytes,
        }
    }
}

/// Those of the registry, and those that Kombu has besides, by feature.
fn known(registry: &TransportRegistry) -> Vec<Known> {
    let mut all = BTreeMap::new();
    for transport in registry.iter() {
        let entry = Known {
            feature: transport.name().to_owned(),
            schemes: transport.schemes().to_vec(),
            compiled_in: true,
            capabilities: Some(transport.capabilities().into()),
        };
        all.entry(transport.name()).or_insert(entry);
    }
    for (scheme, feature) in KNOWN_SCHEMES {
        let entry = all.entry(feature).or_insert_with(|| Known {
            feature: (*feature).to_owned(),
            schemes: Vec::new(),
            compiled_in: false,
            capabilities: None,
        });
        if !entry.compiled_in {
            entry.schemes.push(scheme);
        }
    }
    all.into_values().collect()
}

/// A table of the transports, and one of what those that are compiled in can do.
fn tables(transports: &[Known]) -> String {
    let mut rows =
        vec![["feature".to_owned(), "compiled in".to_owned(), "schemes".to_owned()].to_vec()];
    rows.extend(transports.iter().map(|transport| {
        vec![
            transport.feature.clone(),
            yes_or_no(transport.compiled_in).to_owned(),
            transport.schemes.join(" "),
        ]
    }));
    let mut text = table(&rows);

    let able: Vec<_> = transports
        .iter()
        .filter_map(|transport| Some((transport, transport.capabilities.as_ref()?)))
        .collect();
    let Some((_, first)) = able.first() else { return text };
    let mut rows = vec![vec!["capability".to_owned()]];
    rows[0].extend(able.iter().map(|(transport, _)| transport.feature.clone()));
    for capability in first.promises.keys() {
        let mut row = vec![(*capability).to_owned()];
        row.extend(able.iter().map(|(_, own)| yes_or_no(own.promises[capability]).to_owned()));
        rows.push(row);
    }
    for (name, value) in LIMITS {
        let mut row = vec![(*name).to_owned()];
        row.extend(able.iter().map(|(_, own)| value(own)));
        rows.push(row);
    }
    text.push('\n');
    text.push_str(&table(&rows));
    text
}

/// Rows of columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn yes_or_no(truth: bool) -> &'static str {
    if truth { "yes" } else { "no" }
}

/// What a capability says beside yes and no.
type Limit = fn(&Promises) -> String;

/// The capabilities that say more than yes and no.
const LIMITS: &[(&str, Limit)] = &[
    ("priority order", |own| own.priority_order.unwrap_or("-").to_owned()),
    ("max message bytes", |own| {
        own.max_message_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string())
    }),
];
