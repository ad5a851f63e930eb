//! What lost links leave: messages that they took, which go back to their queues when the next
//! connection is made, before it takes any.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kombu_core::Result;
use tokio::time::Instant;

use crate::core::Core;
use crate::ledger::{self, Held, Score};
use crate::record;
use crate::scripts::number;
use crate::sweep::{self, Return};

/// The estates of a transport's lost links.
#[derive(Debug, Default)]
pub(crate) struct Estates {
    left: Mutex<Vec<Arc<Estate>>>,
    turn: tokio::sync::Mutex<()>,
}

/// What one link held.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Names the server, the database and the keys.
    place: Arc<str>,
    run_id: String,
    client: i64,
    held: Vec<Arc<Held>>,
    /// The logs of its claims, with the queue whose slot each is in.
    logs: Vec<(Arc<str>, Bytes)>,
    /// When a sweep has given all back.
    until: Instant,
}

impl Estates {
    /// Keeps what a lost link held.
    pub(crate) fn bequeath(&self, core: &Core, place: &Arc<str>) {
        let logs = core.ledger.logs();
        let log =
            |(number, queue): (usize, &Arc<str>)| (Arc::clone(queue), core.log(queue, number));
        let estate = Estate {
            place: Arc::clone(place),
            run_id: core.server.run_id.clone(),
            client: core.server.client,
            held: core.ledger.all(),
            logs: logs.iter().enumerate().map(log).collect(),
            until: Instant::now() + core.options.visibility_timeout + Duration::from_secs(1),
        };
        if !estate.held.is_empty() || !estate.logs.is_empty() {
            self.lock().push(Arc::new(estate));
        }
    }

    /// Gives back what lost links held on this server.
    pub(crate) async fn settle(&self, core: &Core, place: &Arc<str>) -> Result<()> {
        // One connection at a time; an estate stays until it is given back.
        let _turn = self.turn.lock().await;
        let estates = self.lock().clone();
        for estate in estates {
            let own = estate.place == *place || estate.run_id == core.server.run_id;
            let moved = match estate.until > Instant::now() {
                true => estate.give_back(core).await?,
                false => 1,
            };
            // Without any: another server, or the same one by another way. The records tell.
            if own || moved > 0 {
                self.lock().retain(|other| !Arc::ptr_eq(other, &estate));
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Estate>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Estate {
    async fn give_back(&self, core: &Core) -> Result<u64> {
        if self.client > 0 && self.run_id == core.server.run_id {
            // What it sent and the server did not read yet must not be done after this.
            let arguments =
                vec![Bytes::from_static(b"KILL"), Bytes::from_static(b"ID"), number(self.client)];
            let _gone_or_forbidden = core.link.ask(b"", "CLIENT", arguments).await?;
        }
        let mut moved = self.give_back_logged(core).await?;
        let mut groups: Vec<(Arc<str>, Vec<Entry>)> = Vec::new();
        for held in self.held.iter().rev() {
            let entry = Entry {
                tag: held.tag.clone(),
                score: number(held.score()),
                other_score: held.next_score().map(number).unwrap_or_default(),
                number: None,
                marked: true,
                list: core.keys.list(&held.queue, held.step),
            };
            match groups
                .iter_mut()
                .find(|(queue, _)| !core.keys.is_cluster() || *queue == held.queue)
            {
                Some((_, group)) => group.push(entry),
                None => groups.push((Arc::clone(&held.queue), vec![entry])),
            }
        }
        for (queue, group) in groups {
            moved += give_back(core, &queue, group).await?;
        }
        Ok(moved)
    }

    /// Gives back what was taken in claims whose answers never came.
    async fn give_back_logged(&self, core: &Core) -> Result<u64> {
        let known: HashSet<&Bytes> = self.held.iter().map(|held| &held.tag).collect();
        let mut moved = 0;
        for (queue, key) in &self.logs {
            let Some(log) = core.call("GET", vec![key.clone()]).await?.into_bytes()? else {
                continue;
            };
            if let Some((start, parts)) = ledger::read_log(&log) {
                let mut entries: Vec<_> = parts
                    .into_iter()
                    .flat_map(|part| part.tags.into_iter().map(move |tag| (tag, part.list.clone())))
                    .zip(start.0..)
                    .filter(|((tag, _), _)| !known.contains(tag))
                    .map(|((tag, list), score)| Entry {
                        tag,
                        score: number(Score(score)),
                        other_score: Bytes::new(),
                        number: None,
                        marked: true,
                        list,
                    })
                    .collect();
                entries.reverse();
                moved += give_back(core, queue, entries).await?;
            }
            core.call("DEL", vec![key.clone()]).await?;
        }
        Ok(moved)
    }
}

/// A record that is to go back, as far as it is known without reading it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tag: Bytes,
    pub(crate) score: Bytes,
    pub(crate) other_score: Bytes,
    pub(crate) number: Option<u64>,
    /// Whether it is to be marked redelivered.
    pub(crate) marked: bool,
    pub(crate) list: Bytes,
}

/// Gives records back in this order.
pub(crate) async fn give_back(core: &Core, queue: &str, entries: Vec<Entry>) -> Result<u64> {
    let (unacked, index) = (core.keys.unacked(queue), core.keys.unacked_index(queue));
    let mut moved = 0;
    for part in entries.chunks(200) {
        let tags = part.iter().map(|entry| entry.tag.clone());
        let wanted = std::iter::once(unacked.clone()).chain(tags).collect();
        let records = core.call("HMGET", wanted).await?.into_list()?;
        let mut returns = Vec::with_capacity(part.len());
        for (entry, stored) in part.iter().zip(records) {
            let Some(record) = stored.into_bytes()?.and_then(|stored| record::read(&stored)) else {
                continue;
            };
            returns.push(Return {
                tag: entry.tag.clone(),
                score: entry.score.clone(),
                other_score: entry.other_score.clone(),
                envelope: match entry.marked {
                    true => record::mark_redelivered(&record.envelope),
                    false => record.envelope,
                },
                number: entry.number,
                lists: vec![entry.list.clone()],
            });
        }
        moved += sweep::restore(core, unacked.clone(), index.clone(), &returns).await?;
    }
    Ok(moved)
}
