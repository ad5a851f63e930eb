//! Files by hand, with the same guarantees: a message is written aside, synced, and moved to its
//! name; it is claimed by another move, and removed when it is handled.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::folders::Folders;
use crate::case::Contender;
use crate::redis::envelope;
use crate::sample::Sample;
use crate::work::Work;

/// Stores messages, one after the other, on a thread that may block.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Whether a message and its name are on the disk before the next one.
    pub(super) synced: bool,
}

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        if self.synced { NAME } else { NOT_SYNCED }
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (work, synced) = (work.clone(), self.synced);
        spawn_blocking(move || {
            let folders = Folders::of(&work.url)?;
            let meter = work.meter();
            let mut left = work.count;
            while left > 0 {
                let some = left.min(work.window as u64);
                store(&folders, &work.queue, &work.body.bytes, some, synced)?;
                left -= some;
            }
            Ok(meter.stop(work.count))
        })
        .await?
    }
}

/// Stores messages that are synced together.
pub(super) fn store(
    folders: &Folders,
    queue: &str,
    body: &[u8],
    count: u64,
    synced: bool,
) -> io::Result<()> {
    let mut written = Vec::new();
    for _ in 0..count {
        let envelope = envelope::write(queue, body);
        let name = format!("{}_{}", super::folders::millis(), Uuid::new_v4());
        let draft = folders.drafts.join(&name);
        let mut file = File::create_new(&draft)?;
        file.write_all(envelope.as_bytes())?;
        written.push((file, draft, folders.data.join(format!("{name}.{queue}.msg"))));
    }
    for (file, draft, place) in written {
        if synced {
            file.sync_all()?;
        }
        fs::rename(draft, place)?;
    }
    if synced { File::open(&folders.data)?.sync_all() } else { Ok(()) }
}

/// Lists the folder once, then claims, reads and removes one message after the other.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let work = work.clone();
        spawn_blocking(move || {
            let folders = Folders::of(&work.url)?;
            let meter = work.meter();
            let mut names = folders.messages(&work.queue)?;
            names.sort_unstable();
            let mut buffer = Vec::new();
            let mut left = work.count;
            for name in names {
                if left == 0 {
                    break;
                }
                let claimed = folders.claims.join(&name);
                fs::rename(folders.data.join(&name), &claimed)?;
                let (body, _) = envelope::read(read(&claimed, &mut buffer)?)?;
                work.check(&body)?;
                fs::remove_file(&claimed)?;
                left -= 1;
            }
            ensure!(left == 0, "{left} messages did not come");
            Ok(meter.stop(work.count))
        })
        .await?
    }
}

fn read<'buffer>(path: &Path, buffer: &'buffer mut Vec<u8>) -> io::Result<&'buffer [u8]> {
    buffer.clear();
    File::open(path)?.read_to_end(buffer)?;
    Ok(buffer)
}

/// Stores a few messages, then takes them.
#[derive(Debug)]
pub(super) struct FewAtATime;

#[async_trait]
impl Contender for FewAtATime {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let work = work.clone();
        spawn_blocking(move || {
            let folders = Folders::of(&work.url)?;
            let meter = work.meter();
            let mut buffer = Vec::new();
            let mut left = work.count;
            while left > 0 {
                let some = left.min(work.window as u64);
                store(&folders, &work.queue, &work.body.bytes, some, true)?;
                let mut names = folders.messages(&work.queue)?;
                names.sort_unstable();
                for name in names {
                    let claimed: PathBuf = folders.claims.join(&name);
                    fs::rename(folders.data.join(&name), &claimed)?;
                    let (body, _) = envelope::read(read(&claimed, &mut buffer)?)?;
                    work.check(&body)?;
                    fs::remove_file(&claimed)?;
                    left -= 1;
                }
            }
            Ok(meter.stop(work.count))
        })
        .await?
    }
}

/// What tables call it.
pub(super) const NAME: &str = "raw files";
pub(super) const NOT_SYNCED: &str = "raw files, not synced";
