//! Folders: ours against files by hand and Python's Kombu, in memory where the disk is not the
//! point.

mod folders;
mod ours;
mod raw;
pub(crate) mod stage;

use std::sync::Arc;

use anyhow::Result;

use self::folders::Folders;
use self::ours::{FewAtATime, NotSynced};
use crate::body::Body;
use crate::case::{Aim, Case, Contender, Kind};
use crate::ours::{ACK, ACK_VALUES, BATCH, Consumer, Publisher, Style};
use crate::peer::{Peer, Python};

/// Folders that are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Ground {
    memory: Option<String>,
    disk: String,
}

impl Ground {
    /// Makes them.
    pub(crate) fn make() -> Result<Self> {
        let memory = folders::in_memory().map(|folder| Folders::make(&folder)).transpose()?;
        Ok(Self { memory, disk: Folders::make(&folders::on_disk())? })
    }

    /// Everything that is compared on them.
    pub(crate) fn cases(&self, peer: &Option<Arc<Peer>>) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        let (fast, place) = match &self.memory {
            Some(memory) => (memory, "in memory"),
            None => (&self.disk, "on disk"),
        };
        for (window, words) in [(1, "one at a time"), (1000, "in batches of 1000")] {
            let style = if window == 1 { Style::InTurn } else { Style::Batch };
            let name = if window == 1 { ACK } else { BATCH };
            let mut contenders: Vec<Arc<dyn Contender>> =
                vec![Arc::new(Publisher(style)), Arc::new(raw::Publisher { synced: true })];
            contenders.extend(Python::all(peer, &[Python::PUBLISH[0]]));
            let title = format!("Files publish {words}, 100 B, {place}");
            let mut case = case(title, Kind::Publish, fast, window, contenders)?;
            case.aim = Some(aim(name, if window == 1 { None } else { Some(2.5) }));
            cases.push(case);
            let mut contenders: Vec<Arc<dyn Contender>> = vec![
                Arc::new(Publisher(style)),
                Arc::new(NotSynced(style)),
                Arc::new(raw::Publisher { synced: true }),
                Arc::new(raw::Publisher { synced: false }),
            ];
            contenders.extend(Python::all(peer, &[Python::PUBLISH[0]]));
            let title = format!("Files publish {words}, 100 B, on disk");
            let mut case = self::case(title, Kind::Publish, &self.disk, window, contenders)?;
            // A disk may take tens of milliseconds for one.
            case.most = if window == 1 { 200 } else { 10_000 };
            cases.push(case);
        }
        let mut few: Vec<Arc<dyn Contender>> =
            vec![Arc::new(FewAtATime), Arc::new(raw::FewAtATime)];
        few.extend(Python::all(peer, &[Python::MEMORY[0]]));
        let title = format!("Files publish 10, then consume and ack them, 100 B, {place}");
        cases.push(case(title, Kind::InProcess, fast, 10, few)?);
        for (waiting, words) in [(3000, "3,000"), (100_000, "100,000")] {
            let mut contenders: Vec<Arc<dyn Contender>> = vec![
                Arc::new(Consumer { decode: false }),
                Arc::new(Consumer { decode: true }),
                Arc::new(raw::Consumer),
            ];
            if waiting == 3000 {
                contenders.extend(Python::all(peer, &Python::CONSUME));
            }
            let title = format!("Files consume and ack each, {words} more waiting, 100 B, {place}");
            let mut case = case(title, Kind::Among(waiting), fast, 1, contenders)?;
            case.prefetch = 1000;
            case.aim = Some(aim(ACK, (waiting == 3000).then_some(30.0)));
            cases.push(case);
        }
        Ok(cases)
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for url in self.memory.iter().chain([&self.disk]) {
            drop(Folders::remove(url));
        }
    }
}

fn case(
    title: String,
    kind: Kind,
    url: &str,
    window: usize,
    contenders: Vec<Arc<dyn Contender>>,
) -> Result<Case> {
    Ok(Case {
        title,
        kind,
        url: url.to_owned(),
        broker: None,
        body: Body::of(100)?,
        prefetch: 100,
        window,
        most: 50_000,
        contenders,
        aim: None,
    })
}

fn aim(ours: &'static str, peer: Option<f64>) -> Aim {
    Aim { ours, typed: ACK_VALUES, raw: raw::NAME, rate: 0.8, cpu: None, peer }
}
