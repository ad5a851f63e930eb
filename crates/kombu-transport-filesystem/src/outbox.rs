//! Storing messages: a file is written under another name and moved when it is complete.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kombu_core::{DeliveryMode, Error, Result};
use kombu_virtual::Put;
use kombu_virtual::envelope::{self, BodyEncoding, Stamp};

use crate::disk;
use crate::error;
use crate::folders::Folders;
use crate::names::{self, Stem};

/// The side of a connection that stores messages.
#[derive(Debug)]
pub(crate) struct Outbox {
    folders: Arc<Folders>,
    body_encoding: BodyEncoding,
    fsync: bool,
    /// Whether there is a folder for drafts.
    ready: AtomicBool,
}

/// A file that is written and not yet seen.
#[derive(Debug)]
struct Draft {
    /// The place of its message in the batch.
    at: usize,
    path: PathBuf,
    place: PathBuf,
    /// Open if it is to outlast a power cut.
    file: Option<File>,
}

impl Outbox {
    pub(crate) fn new(folders: Arc<Folders>, body_encoding: BodyEncoding, fsync: bool) -> Self {
        Self { folders, body_encoding, fsync, ready: AtomicBool::new(false) }
    }

    /// Stores messages, in order. Blocks.
    pub(crate) fn put(&self, batch: &[Put]) -> Vec<Result<()>> {
        if let Err(error) = self.prepare() {
            return batch.iter().map(|_| Err(error.duplicate())).collect();
        }
        let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let mut drafts = Vec::with_capacity(batch.len());
        for (at, (put, answer)) in batch.iter().zip(&mut answers).enumerate() {
            *answer = self.write(at, put, &mut drafts);
        }
        let synced = sync(&self.folders.outbox, &mut drafts);
        let durable = synced.iter().any(Option::is_some);
        for (draft, synced) in drafts.iter().zip(synced) {
            let done = match synced {
                Some(Err(error)) => Err(error::io(error, "sync message", &draft.place)),
                // What could not be written whole is not stored at all.
                _ if answers.get(draft.at).is_none_or(Result::is_err) => {
                    Err(Error::closed("draft"))
                }
                _ => fs::rename(&draft.path, &draft.place)
                    .map_err(|error| error::io(error, "store message", &draft.place)),
            };
            if let Err(error) = done {
                let _tidied_later = fs::remove_file(&draft.path);
                if let Some(answer @ Ok(())) = answers.get_mut(draft.at) {
                    *answer = Err(error);
                }
            }
        }
        if durable && let Err(error) = disk::sync_folder(&self.folders.outbox) {
            let error = error::io(error, "sync folder", &self.folders.outbox);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(error.duplicate());
            }
        }
        answers
    }

    /// Makes the folder of drafts, and removes those that somebody left there.
    fn prepare(&self) -> Result<()> {
        if self.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        disk::make_folder(&self.folders.drafts)?;
        let old = SystemTime::now().checked_sub(ABANDONED).unwrap_or(SystemTime::UNIX_EPOCH);
        for draft in fs::read_dir(&self.folders.drafts).into_iter().flatten().flatten() {
            let written = draft.metadata().and_then(|metadata| metadata.modified());
            if written.is_ok_and(|written| written < old) {
                let _tidied_by_others = fs::remove_file(draft.path());
            }
        }
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Writes the drafts of one message, for each queue one.
    fn write(&self, at: usize, put: &Put, drafts: &mut Vec<Draft>) -> Result<()> {
        let properties = &put.publish.message.properties;
        let durable = self.fsync && properties.delivery_mode == DeliveryMode::Persistent;
        for queue in &put.targets.queues {
            names::check_queue(queue)?;
            let tag = envelope::new_tag();
            let stamp = Stamp::new(&tag).body_encoding(self.body_encoding);
            let text = envelope::encode(&put.publish, &stamp)?;
            let stem = Stem::new(properties.priority);
            let path = self.folders.drafts.join(stem.to_string());
            let place = self.folders.outbox.join(stem.file(queue));
            let file = self.create(&path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                Ok(file)
            });
            match file {
                Ok(file) => {
                    let file = durable.then_some(file);
                    drafts.push(Draft { at, path, place, file });
                }
                Err(error) => {
                    let _tidied_later = fs::remove_file(&path);
                    return Err(error::io(error, "write message", &path));
                }
            }
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        match File::create_new(path) {
            // Somebody has cleared everything away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if disk::make_folder(&self.folders.drafts).is_err() {
                    return Err(error);
                }
                File::create_new(path)
            }
            made => made,
        }
    }
}

/// Brings the drafts that are open to the disk. `None` for the others.
fn sync(folder: &Path, drafts: &mut [Draft]) -> Vec<Option<io::Result<()>>> {
    let open = drafts.iter().filter(|draft| draft.file.is_some()).count();
    let all = if open < TOGETHER { None } else { disk::sync_all(folder) };
    let one = |draft: &mut Draft| {
        let file = draft.file.take()?;
        Some(match &all {
            None => file.sync_all(),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(error.kind().into()),
        })
    };
    drafts.iter_mut().map(one).collect()
}

/// How old a draft is that nobody is writing any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// From how many files on it costs less to sync the whole file system: a sync of one file waits for
/// the same journal as a sync of all.
const TOGETHER: usize = 8;
