//! `RabbitMQ`: ours against amqprs, lapin and Python's Kombu.

mod amqprs;
mod lapin;
pub(crate) mod stage;

use std::env;
use std::str::FromStr;
use std::sync::Arc;

use ::lapin::uri::AMQPUri;
use anyhow::{Context, Result, anyhow};

use crate::body::Body;
use crate::broker::Broker;
use crate::case::{Aim, Case, Contender, Kind};
use crate::ours;
use crate::peer::{Peer, Python};

pub(crate) use amqprs::consume_as_resident as consume_with_amqprs;

/// The URL of the broker.
pub(crate) fn url() -> Result<String> {
    env::var(URL).with_context(|| {
        format!("{URL} is not set: run `cargo xtask bench amqp`, or give the URL of a RabbitMQ")
    })
}

/// The broker's process, if it is on this machine.
pub(crate) fn broker() -> Result<Option<Broker>> {
    Ok(Broker::listening_on(parse(&url()?)?.authority.port))
}

/// Everything that is compared on it.
pub(crate) fn cases(
    url: &str,
    broker: Option<Broker>,
    peer: &Option<Arc<Peer>>,
) -> Result<Vec<Case>> {
    let case = |title: String, kind, size, prefetch, contenders, aim| -> Result<Case> {
        Ok(Case {
            title,
            kind,
            url: url.to_owned(),
            broker,
            body: Body::of(size)?,
            prefetch,
            window: 1000,
            most: if size > 1000 { 20_000 } else { 100_000 },
            contenders,
            aim,
        })
    };
    let mut cases = Vec::new();
    for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
        let title = format!("AMQP publish confirmed, {words}, window 1000");
        let aim = Aim {
            ours: ours::SUBMIT,
            typed: ours::SUBMIT_VALUES,
            raw: amqprs::NAME,
            rate: 1.0,
            cpu: Some(1.5),
            peer: Some(15.0),
        };
        cases.push(case(title, Kind::Publish, size, 0, publishers(peer), Some(aim))?);
    }
    for prefetch in [1000, 100] {
        for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
            let title = format!("AMQP consume and ack each, {words}, prefetch {prefetch}");
            let aim = Aim {
                ours: ours::ACK,
                typed: ours::ACK_VALUES,
                raw: amqprs::NAME,
                rate: 1.0,
                cpu: Some(1.5),
                peer: Some(4.0),
            };
            cases.push(case(title, Kind::Consume, size, prefetch, consumers(peer), Some(aim))?);
        }
    }
    let title = "AMQP round trip of one message, 100 B".to_owned();
    cases.push(case(title, Kind::Latency, 100, 100, round_trips(peer), None)?);
    Ok(cases)
}

fn publishers(peer: &Option<Arc<Peer>>) -> Vec<Arc<dyn Contender>> {
    let mut contenders: Vec<Arc<dyn Contender>> = vec![
        Arc::new(ours::Publisher(ours::Style::Submit)),
        Arc::new(ours::Publisher(ours::Style::Futures)),
        Arc::new(ours::Publisher(ours::Style::Batch)),
        Arc::new(ours::Publisher(ours::Style::Typed)),
        Arc::new(amqprs::Publisher),
        Arc::new(lapin::Publisher::Together),
        Arc::new(lapin::Publisher::InTurn),
    ];
    contenders.extend(Python::all(peer, &Python::PUBLISH));
    contenders.extend(Python::all(peer, &[Python::PUBLISH_WINDOW]));
    contenders
}

fn consumers(peer: &Option<Arc<Peer>>) -> Vec<Arc<dyn Contender>> {
    let mut contenders: Vec<Arc<dyn Contender>> = vec![
        Arc::new(ours::Consumer { decode: false }),
        Arc::new(ours::Consumer { decode: true }),
        Arc::new(amqprs::Consumer),
        Arc::new(lapin::Consumer),
    ];
    contenders.extend(Python::all(peer, &Python::CONSUME));
    contenders
}

fn round_trips(peer: &Option<Arc<Peer>>) -> Vec<Arc<dyn Contender>> {
    let mut contenders: Vec<Arc<dyn Contender>> =
        vec![Arc::new(ours::RoundTrip), Arc::new(amqprs::RoundTrip), Arc::new(lapin::RoundTrip)];
    contenders.extend(Python::all(peer, &[Python::ROUND_TRIP]));
    contenders
}

fn parse(url: &str) -> Result<AMQPUri> {
    AMQPUri::from_str(url).map_err(|error| anyhow!("the URL of the broker: {error}"))
}

/// The variable with the broker's URL.
const URL: &str = "KOMBU_TEST_AMQP_URL";
