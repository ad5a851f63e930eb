//! SQLite: ours against batched statements by hand on sqlx, and Python's Kombu, on one file.

mod file;
mod raw;
pub(crate) mod stage;

use std::sync::Arc;

use anyhow::Result;

use self::file::File;
use crate::body::Body;
use crate::case::{Aim, Case, Contender, Kind};
use crate::ours::{ACK, ACK_VALUES, BATCH, Consumer, Publisher, Style};
use crate::peer::{Peer, Python};

/// A database that is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    file: File,
}

impl Ground {
    /// Makes it.
    pub(crate) fn make() -> Result<Self> {
        Ok(Self { file: File::make()? })
    }

    /// Everything that is compared on it.
    pub(crate) fn cases(&self, peer: &Option<Arc<Peer>>) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for (window, words) in [(1, "one at a time"), (1000, "in batches of 1000")] {
            let (style, name, times) = match window {
                1 => (Style::InTurn, ACK, 15.0),
                _ => (Style::Batch, BATCH, 100.0),
            };
            let mut contenders: Vec<Arc<dyn Contender>> =
                vec![Arc::new(Publisher(style)), Arc::new(raw::Publisher)];
            contenders.extend(Python::all(peer, &[Python::PUBLISH[0]]));
            let title = format!("SQLite publish {words}, 100 B");
            cases.push(self.case(title, Kind::Publish, window, contenders, aim(name, times))?);
        }
        for (waiting, words) in [(10, "10"), (100_000, "100,000")] {
            let mut contenders: Vec<Arc<dyn Contender>> = vec![
                Arc::new(Consumer { decode: false }),
                Arc::new(Consumer { decode: true }),
                Arc::new(raw::Consumer),
            ];
            contenders.extend(Python::all(peer, &Python::CONSUME));
            let title = format!("SQLite consume and ack each, {words} more waiting, 100 B");
            let kind = Kind::Among(waiting);
            let mut case = self.case(title, kind, 1, contenders, aim(ACK, 100.0))?;
            case.prefetch = 1000;
            cases.push(case);
        }
        Ok(cases)
    }

    fn case(
        &self,
        title: String,
        kind: Kind,
        window: usize,
        contenders: Vec<Arc<dyn Contender>>,
        aim: Aim,
    ) -> Result<Case> {
        Ok(Case {
            title,
            kind,
            url: self.file.url(),
            broker: None,
            body: Body::of(100)?,
            prefetch: 100,
            window,
            most: 50_000,
            contenders,
            aim: Some(aim),
        })
    }
}

fn aim(ours: &'static str, peer: f64) -> Aim {
    Aim { ours, typed: ACK_VALUES, raw: raw::NAME, rate: 0.8, cpu: None, peer: Some(peer) }
}
