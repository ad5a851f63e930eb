//! Claimed messages: a folder for each connection, and a lock that says that it lives.
//!
//! A message is claimed by moving its file into the folder of the connection. The operating system
//! lets the lock go when the process ends, however it does, and whoever gets the lock then moves
//! the messages back.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::envelope::new_tag;

use crate::disk;
use crate::error;
use crate::folders::Folders;
use crate::names::Stem;

/// A connection that claims messages.
#[derive(Debug)]
pub(crate) struct Claims {
    folder: PathBuf,
    lock: PathBuf,
    /// Holds the lock for as long as it is open.
    _locked: File,
}

impl Claims {
    /// Makes a folder for this connection.
    pub(crate) fn open(folders: &Folders) -> Result<Self> {
        disk::make_folder(&folders.claims)?;
        let name = new_tag();
        let lock = folders.claims.join(format!("{name}.{LOCK}"));
        let draft = folders.claims.join(format!("{name}.draft"));
        let failed = |error| error::io(error, "lock claims", &lock);
        let locked = File::create_new(&draft).map_err(failed)?;
        locked.try_lock().map_err(|error| match error {
            TryLockError::Error(error) => Error::new(
                ErrorKind::Other,
                "the file system has no locks, without which claims do not come back",
            )
            .during("lock claims")
            .with("path", lock.display())
            .caused_by(error),
            TryLockError::WouldBlock => failed(io::ErrorKind::WouldBlock.into()),
        })?;
        // It is seen when it is locked: nobody takes this connection for dead.
        fs::rename(&draft, &lock).map_err(failed)?;
        let folder = folders.claims.join(name);
        disk::make_folder(&folder)?;
        Ok(Self { folder, lock, _locked: locked })
    }

    /// Where the file of a claimed message is.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Whether the folder is there; somebody may have cleared everything away.
    pub(crate) fn exist(&self) -> bool {
        self.folder.is_dir() && self.lock.exists()
    }

    /// Removes the folder, which is empty when everything is settled.
    pub(crate) fn close(self) {
        // What is in it comes back when the lock is let go.
        if fs::remove_dir(&self.folder).is_ok() {
            let _left_to_others = fs::remove_file(&self.lock);
        }
    }
}

/// Moves back what dead connections had claimed, and says how many messages.
pub(crate) fn recover(folders: &Folders) -> Result<u64> {
    let entries = match fs::read_dir(&folders.claims) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error::io(error, "list claims", &folders.claims)),
    };
    let mut count = 0;
    for entry in entries.flatten() {
        let lock = entry.path();
        if lock.extension().is_none_or(|extension| extension != LOCK) {
            continue;
        }
        // One that is gone was recovered by somebody else, or closed.
        let Ok(file) = open_lock(&lock) else { continue };
        if file.try_lock().is_err() {
            continue;
        }
        count += bury(folders, &lock)?;
    }
    Ok(count)
}

/// Opens a lock so that it can be taken: on network file systems only who may write can.
fn open_lock(lock: &Path) -> io::Result<File> {
    match File::options().read(true).write(true).open(lock) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => File::open(lock),
        opened => opened,
    }
}

/// Moves back what one dead connection had claimed; its lock is held.
fn bury(folders: &Folders, lock: &Path) -> Result<u64> {
    let folder = lock.with_extension("");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mut claimed: Vec<_> = entries
        .map(|entry| {
            let file = entry.file_name();
            let message = file.to_str().and_then(Stem::split);
            let message = message.map(|(stem, queue)| (Stem::parse(stem), queue.to_owned()));
            (message, file)
        })
        .collect();
    // In their order, since whoever waits for them takes them as they come.
    claimed.sort_unstable();
    let mut count = 0;
    for (message, file) in claimed {
        // Nobody knows whether a consumer saw it.
        let back = match message {
            Some((stem, queue)) => folders.inbox.join(stem.redelivered().file(&queue)),
            None => folders.inbox.join(&file),
        };
        match fs::rename(folder.join(&file), &back) {
            Ok(()) => count += 1,
            // Its queue was deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error::io(error, "give back a message", &back)),
        }
    }
    let cleared = match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => disk::remove(lock),
    };
    cleared.map_err(|error| error::io(error, "clear claims", &folder))?;
    Ok(count)
}

/// Removes the claimed messages of a queue that is deleted, whoever holds them.
pub(crate) fn remove_queue(folders: &Folders, queue: &str) {
    for entry in fs::read_dir(&folders.claims).into_iter().flatten().flatten() {
        for message in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            let name = message.file_name();
            if name.to_str().and_then(Stem::split).is_some_and(|(_, of)| of == queue) {
                let _settled_meanwhile = fs::remove_file(message.path());
            }
        }
    }
}

/// What ends the names of locks.
const LOCK: &str = "lock";
