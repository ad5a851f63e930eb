//! The names of waiting messages, so that a folder is not listed for each of them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kombu_core::Result;

use crate::error;
use crate::names::Stem;
use crate::notices::{Notice, Notices};

/// What waits in the queues that this connection reads from.
///
/// A folder is listed once; then the operating system tells what comes. What others take stays here
/// until it is tried.
#[derive(Debug, Default)]
pub(crate) struct Index {
    queues: HashMap<Arc<str>, Waiting>,
    /// When the folder was listed, unless it is to be listed again.
    listed: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    stems: BTreeSet<Stem>,
    used: Instant,
}

impl Index {
    /// Brings it up to date for these queues. Without notices, what was listed within `trust` is
    /// good enough for a queue of which something is known.
    pub(crate) fn refresh<'a>(
        &mut self,
        folder: &Path,
        notices: Option<&Notices>,
        trust: Duration,
        wanted: impl Iterator<Item = &'a Arc<str>>,
    ) -> Result<()> {
        let now = Instant::now();
        let mut empty = false;
        for queue in wanted {
            if !self.queues.contains_key(queue) {
                let waiting = Waiting { stems: BTreeSet::new(), used: now };
                self.queues.insert(Arc::clone(queue), waiting);
                self.listed = None;
            }
            if let Some(waiting) = self.queues.get_mut(queue) {
                waiting.used = now;
                empty |= waiting.stems.is_empty();
            }
        }
        match notices {
            Some(notices) => self.listen(notices),
            None if empty => self.listed = None,
            None => {}
        }
        if self.listed.is_none_or(|listed| now.duration_since(listed) >= trust) {
            self.list(folder)?;
            // A listing may have what came while it was made, without what came a moment before.
            if let Some(notices) = notices {
                self.listen(notices);
            }
        }
        if notices.is_some_and(Notices::have_ended) {
            // Nobody tells what comes after this listing.
            self.listed = None;
        }
        Ok(())
    }

    /// Takes in what was told.
    fn listen(&mut self, notices: &Notices) {
        let mut missed = false;
        let told = notices.take(|notice| match notice {
            Notice::File(Some(name)) => self.add_file(name),
            Notice::File(None) => {}
            Notice::Gone | Notice::Missed => missed = true,
        });
        if missed || told.is_err() {
            self.listed = None;
        }
    }

    /// Lists the folder, which takes time for each file in it.
    fn list(&mut self, folder: &Path) -> Result<()> {
        let begun = Instant::now();
        for waiting in self.queues.values_mut() {
            waiting.stems.clear();
        }
        let failed = |error| error::io(error, "list folder", folder);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if let Some(name) = entry.file_name().to_str()
                && self.knows(name)
                && entry.file_type().is_ok_and(|kind| kind.is_file())
            {
                self.add_file(name);
            }
        }
        self.listed = Some(begun);
        Ok(())
    }

    fn knows(&self, file: &str) -> bool {
        Stem::split(file).is_some_and(|(_, queue)| self.queues.contains_key(queue))
    }

    fn add_file(&mut self, file: &str) {
        if let Some((stem, queue)) = Stem::split(file)
            && let Some(waiting) = self.queues.get_mut(queue)
        {
            waiting.stems.insert(Stem::parse(stem));
        }
    }

    /// Adds a message that was put back.
    pub(crate) fn add(&mut self, queue: &str, stem: Stem) {
        if let Some(waiting) = self.queues.get_mut(queue) {
            waiting.stems.insert(stem);
        }
    }

    /// The next message of a queue, which is not among those that wait any more.
    pub(crate) fn next(&mut self, queue: &str) -> Option<Stem> {
        self.queues.get_mut(queue)?.stems.pop_first()
    }

    /// Forgets the queues that nobody has asked for in a while.
    pub(crate) fn forget_unused(&mut self, unused: Duration) {
        let now = Instant::now();
        self.queues.retain(|_, waiting| now.duration_since(waiting.used) < unused);
    }
}
