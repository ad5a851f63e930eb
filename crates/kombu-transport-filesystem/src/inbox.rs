//! Taking messages: a claim is a move of the file into the folder of this connection.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kombu_core::{Message, Properties, Result};
use kombu_virtual::envelope::Envelope;
use kombu_virtual::{Claimed, Want};

use crate::claims::Claims;
use crate::disk;
use crate::error;
use crate::folders::Folders;
use crate::index::Index;
use crate::names::{self, Stem};
use crate::notices::{About, Alarm, Notices};
use crate::reading::{self, Content};

/// A message that this connection has claimed.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) queue: Arc<str>,
    pub(crate) stem: Stem,
    /// It could not be read and was set aside: there is nothing to settle.
    pub(crate) aside: bool,
}

/// Names a claimed message.
pub(crate) type Receipt = Arc<Held>;

/// The side of a connection that takes messages.
#[derive(Debug)]
pub(crate) struct Inbox {
    folders: Arc<Folders>,
    /// The time between two looks at a folder of which nothing is told.
    poll: Duration,
    index: Mutex<Index>,
    /// Made when the first message is wanted.
    claims: Mutex<Option<Arc<Claims>>>,
    alarm: Mutex<Watched>,
    unripe: Mutex<Vec<Unripe>>,
}

/// What tells of new messages.
#[derive(Debug, Default)]
enum Watched {
    #[default]
    NotYet,
    /// Nothing does.
    Not,
    By(Arc<Alarm>),
}

/// A claimed file that could not be read, and may be complete a little later.
#[derive(Debug)]
struct Unripe {
    queue: Arc<str>,
    stem: Stem,
    since: Instant,
}

/// What came of a look at the queues.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) claimed: Vec<Claimed<Receipt>>,
    /// When to look again at the latest.
    pub(crate) again: Instant,
    /// What rings before.
    pub(crate) alarm: Option<Arc<Alarm>>,
}

impl Inbox {
    pub(crate) fn new(folders: Arc<Folders>, poll: Duration) -> Self {
        Self {
            folders,
            poll,
            index: Mutex::default(),
            claims: Mutex::default(),
            alarm: Mutex::default(),
            unripe: Mutex::default(),
        }
    }

    /// Takes what is there of the queues that are wanted. Blocks.
    pub(crate) fn take(&self, wants: &[Want]) -> Result<Taken> {
        let claims = self.claims()?;
        let (alarm, trust) = loop {
            let alarm = self.alarm();
            let trust = if alarm.is_some() { TRUST } else { self.poll };
            let notices = alarm.as_deref().map(Alarm::notices);
            let queues = wants.iter().map(|want| &want.queue);
            lock(&self.index).refresh(&self.folders.inbox, notices, trust, queues)?;
            // Another folder may have the name by now.
            if !notices.is_some_and(Notices::have_ended) {
                break (alarm, trust);
            }
        };
        let mut taking =
            Taking { inbox: self, claims, claimed: Vec::new(), bytes: 0, buffer: Vec::new() };
        let mut failed = None;
        for want in wants {
            let before = taking.claimed.len();
            taking.ripen(want);
            while taking.claimed.len() - before < want.limit && taking.bytes < MOST_BYTES {
                let Some(stem) = lock(&self.index).next(&want.queue) else { break };
                if let Err(error) = taking.claim(&want.queue, &stem) {
                    lock(&self.index).add(&want.queue, stem);
                    failed = Some(error);
                    break;
                }
            }
        }
        let claimed = taking.claimed;
        match failed {
            Some(error) if claimed.is_empty() => return Err(error),
            // The next call meets it again.
            _ => {}
        }
        let wait = if lock(&self.unripe).is_empty() { trust } else { RIPENING };
        Ok(Taken { claimed, again: Instant::now() + wait, alarm })
    }

    /// This connection's claims.
    pub(crate) fn claims(&self) -> Result<Arc<Claims>> {
        let mut claims = lock(&self.claims);
        if let Some(claims) = &*claims {
            return Ok(Arc::clone(claims));
        }
        let opened = Arc::new(Claims::open(&self.folders)?);
        *claims = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// Makes the claims anew if they were cleared away.
    fn renew_claims(&self) -> Result<Option<Arc<Claims>>> {
        {
            let mut claims = lock(&self.claims);
            if claims.as_ref().is_some_and(|claims| claims.exist()) {
                return Ok(None);
            }
            *claims = None;
        }
        self.claims().map(Some)
    }

    /// What tells of new messages; only called in a runtime.
    fn alarm(&self) -> Option<Arc<Alarm>> {
        let mut watched = lock(&self.alarm);
        // The folder may be there again.
        if matches!(&*watched, Watched::By(alarm) if alarm.notices().have_ended()) {
            *watched = Watched::NotYet;
        }
        if let Watched::NotYet = &*watched {
            let notices = Notices::of(&self.folders.inbox, About::Complete);
            let alarm = notices.and_then(|notices| notices.map(Alarm::new).transpose());
            *watched = match alarm {
                Ok(Some(alarm)) => Watched::By(Arc::new(alarm)),
                Ok(None) => Watched::Not,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Watched::NotYet,
                Err(error) => {
                    let folder = self.folders.inbox.display();
                    tracing::warn!(%error, %folder, "the folder is polled: it cannot be watched");
                    Watched::Not
                }
            };
        }
        match &*watched {
            Watched::By(alarm) => Some(Arc::clone(alarm)),
            Watched::Not | Watched::NotYet => None,
        }
    }

    /// Behaves as on a file system that tells of nothing.
    #[cfg(test)]
    pub(crate) fn never_watch(&self) {
        *lock(&self.alarm) = Watched::Not;
    }

    /// Notes a message that was put back where nothing tells of it.
    pub(crate) fn put_back(&self, queue: &str, stem: Stem) {
        if !matches!(*lock(&self.alarm), Watched::By(_)) {
            lock(&self.index).add(queue, stem);
        }
    }

    /// Forgets what has not been asked for in a while, and sees to it that the right folder is
    /// watched.
    pub(crate) fn tidy(&self) {
        if let Watched::By(alarm) = &*lock(&self.alarm) {
            alarm.notices().compare(&self.folders.inbox);
        }
        lock(&self.index).forget_unused(UNUSED);
    }

    /// Gives back what this connection has claimed and not given out, and ends its claims.
    pub(crate) fn close(&self) {
        let claims = lock(&self.claims).take();
        let Some(claims) = claims else { return };
        for unripe in lock(&self.unripe).drain(..) {
            let file = unripe.stem.file(&unripe.queue);
            // What fails comes back with the lock.
            let _later = fs::rename(claims.path(&file), self.folders.inbox.join(file));
        }
        if let Some(claims) = Arc::into_inner(claims) {
            claims.close();
        }
    }
}

/// One look at the queues.
struct Taking<'a> {
    inbox: &'a Inbox,
    claims: Arc<Claims>,
    claimed: Vec<Claimed<Receipt>>,
    bytes: usize,
    buffer: Vec<u8>,
}

impl Taking<'_> {
    /// Claims a message, unless somebody else has.
    fn claim(&mut self, queue: &Arc<str>, stem: &Stem) -> Result<()> {
        let file = stem.file(queue);
        let from = self.inbox.folders.inbox.join(&file);
        match self.move_in(&from, &file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Either the message is gone, or this connection's folder.
                if fs::symlink_metadata(&from).is_err() {
                    return Ok(());
                }
                if let Some(claims) = self.inbox.renew_claims()? {
                    self.claims = claims;
                }
                match self.move_in(&from, &file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(error::io(error, "claim message", &from));
                    }
                    Err(_) => return Ok(()),
                    Ok(()) => {}
                }
            }
            Err(error) => return Err(error::io(error, "claim message", &from)),
        }
        self.read(queue, stem, None);
        Ok(())
    }

    fn move_in(&self, from: &std::path::Path, file: &str) -> io::Result<()> {
        fs::rename(from, self.claims.path(file))
    }

    /// Reads a claimed message; one that cannot be read waits, and is set aside in the end.
    fn read(&mut self, queue: &Arc<str>, stem: &Stem, since: Option<Instant>) {
        let path = self.claims.path(&stem.file(queue));
        let content = match reading::read(&path, &mut self.buffer) {
            Ok(content) => content,
            // Its queue was deleted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Content::Unreadable {
                reason: error.to_string(),
                stored: Vec::new(),
                perhaps_later: false,
                locked: false,
            },
        };
        match content {
            Content::Message(envelope, size) => {
                self.bytes += size;
                self.claimed.push(message(queue, stem.clone(), *envelope));
            }
            Content::Unreadable { reason, stored, perhaps_later, locked } => {
                let since = since.unwrap_or_else(Instant::now);
                if locked || (perhaps_later && since.elapsed() < RIPE) {
                    let unripe = Unripe { queue: Arc::clone(queue), stem: stem.clone(), since };
                    lock(&self.inbox.unripe).push(unripe);
                } else {
                    self.claimed.push(self.set_aside(queue, stem, &path, &reason, stored));
                }
            }
        }
    }

    /// Reads once more what could not be read before.
    fn ripen(&mut self, want: &Want) {
        let mut room = want.limit;
        let again: Vec<_> = lock(&self.inbox.unripe)
            .extract_if(.., |unripe| {
                let chosen = unripe.queue == want.queue && room > 0;
                room -= usize::from(chosen);
                chosen
            })
            .collect();
        for unripe in again {
            self.read(&unripe.queue, &unripe.stem, Some(unripe.since));
        }
    }

    /// Moves a file out of the way that is no message, and says so to the consumer.
    fn set_aside(
        &self,
        queue: &Arc<str>,
        stem: &Stem,
        path: &std::path::Path,
        reason: &str,
        stored: Vec<u8>,
    ) -> Claimed<Receipt> {
        let (place, kept) = self.keep(queue, stem, path);
        let (queue_name, file) = (&**queue, place.display());
        match kept {
            Ok(()) => {
                tracing::error!(queue = queue_name, %file, reason, "a file that is no message is set aside");
            }
            Err(error) => {
                tracing::error!(queue = queue_name, %file, reason, %error, "a file that is no message cannot be set aside");
            }
        }
        let held = Held { queue: Arc::clone(queue), stem: stem.clone(), aside: true };
        let message = Message::new(stored, Properties::new());
        let mut claimed = Claimed::new(Arc::clone(queue), Some(Arc::new(held)), message);
        claimed.broken = Some(format!("{reason}; the file is kept as {file}"));
        claimed
    }

    fn keep(&self, queue: &str, stem: &Stem, path: &std::path::Path) -> (PathBuf, Result<()>) {
        let folders = &self.inbox.folders;
        let place = folders.corrupt.join(stem.file(queue));
        let kept = match folders.processed {
            Some(_) => Ok(()),
            None => disk::make_folder(&folders.corrupt),
        };
        let kept = kept.and_then(|()| {
            disk::move_file(path, &place).map_err(|error| error::io(error, "set aside", &place))
        });
        (place, kept)
    }
}

fn message(queue: &Arc<str>, stem: Stem, envelope: Envelope) -> Claimed<Receipt> {
    let deliveries = stem.deliveries();
    let held = Held { queue: Arc::clone(queue), stem, aside: false };
    let mut claimed = Claimed::new(Arc::clone(queue), Some(Arc::new(held)), envelope.message);
    claimed.exchange = envelope.exchange;
    claimed.routing_key = envelope.routing_key;
    claimed.redelivered = envelope.redelivered || deliveries > 0;
    claimed.delivery_count = Some(deliveries);
    claimed
}

/// The names of the files in the in-folder that belong to a queue.
pub(crate) fn waiting(folders: &Folders, queue: &str) -> Result<Vec<PathBuf>> {
    names::check_queue(queue)?;
    let failed = |error| error::io(error, "list folder", &folders.inbox);
    let mut waiting = Vec::new();
    for entry in fs::read_dir(&folders.inbox).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name.to_str().and_then(Stem::split).is_some_and(|(_, of)| of == queue) {
            waiting.push(folders.inbox.join(name));
        }
    }
    Ok(waiting)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a listing holds where changes are told.
const TRUST: Duration = Duration::from_secs(60);

/// How long what nobody asks for is kept.
const UNUSED: Duration = Duration::from_secs(600);

/// The pause before a file that cannot be read is read again.
const RIPENING: Duration = Duration::from_millis(50);

/// How long a file may be incomplete: far longer than Kombu takes between making and locking it.
const RIPE: Duration = Duration::from_secs(2);

/// The most bytes that one look takes, beside a last message.
const MOST_BYTES: usize = 16 << 20;
