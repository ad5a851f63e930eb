//! ZooKeeper: ours against zookeeper-client with the same steps by hand, and Python's Kombu.

mod client;
mod raw;
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
        format!("{URL} is not set: run `cargo xtask bench zookeeper`, or give that of a ZooKeeper")
    })
}

/// Everything that is compared on it.
pub(crate) fn cases(url: &str, peer: &Option<Arc<Peer>>) -> Result<Vec<Case>> {
    let port = BrokerUrl::parse(url)?.port().unwrap_or(2181);
    let case = |title: &str, kind, window, prefetch, contenders, aim| -> Result<Case> {
        Ok(Case {
            title: title.to_owned(),
            kind,
            url: url.to_owned(),
            broker: Broker::listening_on(port),
            body: Body::of(100)?,
            prefetch,
            window,
            most: 50_000,
            contenders,
            aim: Some(aim),
        })
    };
    let publishers = |style, at_once| {
        let mut contenders: Vec<Arc<dyn Contender>> =
            vec![Arc::new(ours::Publisher(style)), Arc::new(raw::Publisher { at_once })];
        contenders.extend(Python::all(peer, &Python::PUBLISH));
        contenders
    };
    let mut consumers: Vec<Arc<dyn Contender>> = vec![
        Arc::new(ours::Consumer { decode: false }),
        Arc::new(ours::Consumer { decode: true }),
        Arc::new(raw::Consumer),
    ];
    consumers.extend(Python::all(peer, &Python::CONSUME));
    Ok(vec![
        case(
            "ZooKeeper publish one at a time, 100 B",
            Kind::Publish,
            1,
            0,
            publishers(Style::InTurn, 1),
            aim(ours::ACK, None),
        )?,
        case(
            "ZooKeeper publish 100 at once, 100 B",
            Kind::Publish,
            100,
            0,
            publishers(Style::Futures, 100),
            aim(ours::FUTURES, Some(10.0)),
        )?,
        case(
            "ZooKeeper consume and ack each, 100 B, prefetch 100",
            Kind::Consume,
            1,
            100,
            consumers,
            aim(ours::ACK, Some(10.0)),
        )?,
    ])
}

/// Nine tenths of what is written by hand.
fn aim(ours: &'static str, peer: Option<f64>) -> Aim {
    Aim { ours, typed: ours::ACK_VALUES, raw: raw::NAME, rate: 0.9, cpu: None, peer }
}

/// The variable with the server's URL.
const URL: &str = "KOMBU_TEST_ZOOKEEPER_URL";
