//! Redis: ours against fred with Kombu's commands, fred with scripts by hand, and Python's Kombu.

mod client;
mod commands;
pub(crate) mod envelope;
mod script;
pub(crate) mod stage;

use std::env;
use std::sync::Arc;

use anyhow::{Context, Result};
use kombu::BrokerUrl;

use crate::body::Body;
use crate::broker::Broker;
use crate::case::{Aim, Case, Contender, Kind};
use crate::ours::{self, Style};
use crate::peer::{Peer, Python};

/// The URL of the server.
pub(crate) fn url() -> Result<String> {
    env::var(URL).with_context(|| {
        format!("{URL} is not set: run `cargo xtask bench redis`, or give the URL of a Redis")
    })
}

/// The server's process, if it is on this machine.
pub(crate) fn broker() -> Result<Option<Broker>> {
    Ok(Broker::listening_on(BrokerUrl::parse(&url()?)?.port().unwrap_or(6379)))
}

/// Everything that is compared on it.
pub(crate) fn cases(
    url: &str,
    broker: Option<Broker>,
    peer: &Option<Arc<Peer>>,
) -> Result<Vec<Case>> {
    let case = |title: String, kind, size, window, prefetch, contenders, aim| -> Result<Case> {
        Ok(Case {
            title,
            kind,
            url: url.to_owned(),
            broker,
            body: Body::of(size)?,
            prefetch,
            window,
            most: if size > 1000 { 30_000 } else { 200_000 },
            contenders,
            aim,
        })
    };
    let mut cases = Vec::new();
    for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
        let title = format!("Redis publish one at a time, {words}");
        let aim = aim(ours::ACK, commands::NAME, None);
        let contenders = publishers(peer, Style::InTurn, 1);
        cases.push(case(title, Kind::Publish, size, 1, 0, contenders, Some(aim))?);
    }
    for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
        let title = format!("Redis publish 100 at once, {words}");
        let aim = aim(ours::FUTURES, commands::NAME, None);
        let contenders = publishers(peer, Style::Futures, 100);
        cases.push(case(title, Kind::Publish, size, 100, 0, contenders, Some(aim))?);
    }
    for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
        let title = format!("Redis publish in batches of 1000, {words}");
        let aim = aim(ours::BATCH, script::NAME, Some(8.0));
        let mut contenders: Vec<Arc<dyn Contender>> =
            vec![Arc::new(ours::Publisher(Style::Batch)), Arc::new(script::Publisher)];
        contenders.push(Arc::new(commands::Publisher { at_once: 1000 }));
        contenders.extend(Python::all(peer, &[Python::PUBLISH_BATCH]));
        cases.push(case(title, Kind::Publish, size, 1000, 0, contenders, Some(aim))?);
    }
    for prefetch in [1000, 100] {
        for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
            let title = format!("Redis consume and ack each, {words}, prefetch {prefetch}");
            let aim = aim(ours::ACK, script::NAME, Some(50.0));
            cases.push(case(title, Kind::Consume, size, 1, prefetch, consumers(peer), Some(aim))?);
        }
    }
    let title = "Redis round trip of one message, 100 B".to_owned();
    let mut contenders: Vec<Arc<dyn Contender>> = vec![Arc::new(ours::RoundTrip)];
    contenders.extend(Python::all(peer, &[Python::ROUND_TRIP]));
    cases.push(case(title, Kind::Latency, 100, 1, 100, contenders, None)?);
    Ok(cases)
}

/// Nine tenths of what is written by hand.
fn aim(ours: &'static str, raw: &'static str, peer: Option<f64>) -> Aim {
    Aim { ours, typed: ours::ACK_VALUES, raw, rate: 0.9, cpu: None, peer }
}

fn publishers(peer: &Option<Arc<Peer>>, style: Style, at_once: usize) -> Vec<Arc<dyn Contender>> {
    let mut contenders: Vec<Arc<dyn Contender>> =
        vec![Arc::new(ours::Publisher(style)), Arc::new(commands::Publisher { at_once })];
    contenders.extend(Python::all(peer, &Python::PUBLISH));
    contenders
}

fn consumers(peer: &Option<Arc<Peer>>) -> Vec<Arc<dyn Contender>> {
    let mut contenders: Vec<Arc<dyn Contender>> = vec![
        Arc::new(ours::Consumer { decode: false }),
        Arc::new(ours::Consumer { decode: true }),
        Arc::new(script::Consumer),
        Arc::new(commands::Consumer),
    ];
    contenders.extend(Python::all(peer, &Python::CONSUME));
    contenders
}

/// The variable with the server's URL.
const URL: &str = "KOMBU_TEST_REDIS_URL";
