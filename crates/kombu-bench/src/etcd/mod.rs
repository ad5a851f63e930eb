//! etcd: ours against etcd-client with the same steps by hand. Python's Kombu does not speak its
//! API.

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

/// The URL of the member.
pub(crate) fn url() -> Result<String> {
    env::var(URL).with_context(|| {
        format!("{URL} is not set: run `cargo xtask bench etcd`, or give that of an etcd")
    })
}

/// Everything that is compared on it.
pub(crate) fn cases(url: &str) -> Result<Vec<Case>> {
    let port = BrokerUrl::parse(url)?.port().unwrap_or(2379);
    let case = |title: &str, kind, window, prefetch, contenders, ours| -> Result<Case> {
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
            aim: Some(Aim {
                ours,
                typed: ours::ACK_VALUES,
                raw: raw::NAME,
                rate: 0.9,
                cpu: None,
                peer: None,
            }),
        })
    };
    let publishers = |style, at_once| -> Vec<Arc<dyn Contender>> {
        vec![Arc::new(ours::Publisher(style)), Arc::new(raw::Publisher { at_once })]
    };
    let consumers: Vec<Arc<dyn Contender>> = vec![
        Arc::new(ours::Consumer { decode: false }),
        Arc::new(ours::Consumer { decode: true }),
        Arc::new(raw::Consumer),
    ];
    Ok(vec![
        case(
            "etcd publish one at a time, 100 B",
            Kind::Publish,
            1,
            0,
            publishers(Style::InTurn, 1),
            ours::ACK,
        )?,
        case(
            "etcd publish 100 at once, 100 B",
            Kind::Publish,
            100,
            0,
            publishers(Style::Futures, 100),
            ours::FUTURES,
        )?,
        case(
            "etcd consume and ack each, 100 B, prefetch 100",
            Kind::Consume,
            1,
            100,
            consumers,
            ours::ACK,
        )?,
    ])
}

/// The variable with the member's URL.
const URL: &str = "KOMBU_TEST_ETCD_URL";
