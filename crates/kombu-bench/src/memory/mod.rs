//! The transport inside the process, against a channel of tokio and Python's Kombu.

mod channel;
mod ours;
mod worker;

use std::sync::Arc;

use anyhow::Result;

use crate::body::Body;
use crate::case::{Aim, Case, Contender, Kind};
use crate::peer::{Peer, Python};

/// Everything that is compared in the process.
pub(crate) fn cases(peer: &Option<Arc<Peer>>) -> Result<Vec<Case>> {
    let case = |title: String, kind, size, prefetch, contenders, aim| -> Result<Case> {
        Ok(Case {
            title,
            kind,
            url: "memory://".to_owned(),
            broker: None,
            body: Body::of(size)?,
            prefetch,
            window: 100,
            most: 3_000_000,
            contenders,
            aim,
        })
    };
    let mut cases = Vec::new();
    for (size, words) in [(100, "100 B"), (10_000, "10 KB")] {
        let title = format!("memory publish, consume and ack, {words}, two tasks");
        let mut contenders: Vec<Arc<dyn Contender>> = vec![
            Arc::new(ours::TwoTasks(ours::Style::Each)),
            Arc::new(ours::TwoTasks(ours::Style::Batch)),
            Arc::new(ours::TwoTasks(ours::Style::Typed)),
            Arc::new(worker::WithWorker),
            Arc::new(channel::TwoTasks),
        ];
        contenders.extend(Python::all(peer, &Python::MEMORY));
        let aim = Aim {
            ours: ours::EACH,
            typed: ours::VALUES,
            raw: channel::NAME,
            rate: 0.4,
            cpu: None,
            peer: Some(10.0),
        };
        cases.push(case(title, Kind::InProcess, size, 1000, contenders, Some(aim))?);
    }
    let title = "memory publish 100, then consume and ack them, 100 B, one task".to_owned();
    let mut contenders: Vec<Arc<dyn Contender>> =
        vec![Arc::new(ours::OneTask), Arc::new(channel::OneTask)];
    contenders.extend(Python::all(peer, &Python::MEMORY));
    let aim = Aim {
        ours: ours::EACH,
        typed: ours::VALUES,
        raw: channel::NAME,
        rate: 0.4,
        cpu: None,
        peer: Some(10.0),
    };
    cases.push(case(title, Kind::InProcess, 100, 1000, contenders, Some(aim))?);
    Ok(cases)
}
