//! The files of exchanges, and which queues there are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kombu_core::{Error, ErrorKind, ExchangeType, Result};
use kombu_virtual::{Destination, Route};

use crate::disk;
use crate::error;
use crate::names;
use crate::notices::{About, Notices};

/// A binding as Kombu writes it: routing key, pattern of a topic, queue.
pub(crate) type Binding = (String, String, String);

/// What is known of an exchange.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Its type, if anything tells it.
    pub(crate) kind: Option<ExchangeType>,
    pub(crate) routes: Arc<[Route]>,
}

/// The control folder.
#[derive(Debug)]
pub(crate) struct Control {
    folder: PathBuf,
    cache: Mutex<Cache>,
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Cache {
    notices: Option<Notices>,
    tables: HashMap<String, Arc<Table>>,
}

impl Control {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, cache: Mutex::default(), version: AtomicU64::new(0) }
    }

    /// A number that changes with the folder, if the operating system tells of its changes. Does
    /// not block.
    pub(crate) fn version(&self) -> Option<u64> {
        self.current(&mut self.lock())
    }

    fn current(&self, cache: &mut Cache) -> Option<u64> {
        let notices = cache.notices.as_ref()?;
        let mut changed = false;
        let told = notices.take(|_| changed = true);
        let ended = notices.have_ended();
        if changed || told.is_err() {
            cache.tables.clear();
            self.version.fetch_add(1, Ordering::Release);
        }
        if ended {
            cache.notices = None;
            return None;
        }
        Some(self.version.load(Ordering::Acquire))
    }

    /// What is remembered of an exchange.
    pub(crate) fn remembered(&self, exchange: &str) -> Option<Arc<Table>> {
        let mut cache = self.lock();
        self.current(&mut cache)?;
        cache.tables.get(exchange).cloned()
    }

    /// What the files say of an exchange. Blocks, as all that follows.
    pub(crate) fn table(&self, exchange: &str) -> Result<Arc<Table>> {
        let version = {
            let mut cache = self.lock();
            if cache.notices.is_none() {
                // A folder that cannot be watched is read each time.
                cache.notices = Notices::of(&self.folder, About::Changes).ok().flatten();
                cache.tables.clear();
                self.version.fetch_add(1, Ordering::Release);
            }
            self.current(&mut cache)
        };
        let table = Arc::new(self.read_table(exchange)?);
        let mut cache = self.lock();
        if version.is_some() && self.current(&mut cache) == version {
            cache.tables.insert(exchange.to_owned(), Arc::clone(&table));
        }
        Ok(table)
    }

    fn read_table(&self, exchange: &str) -> Result<Table> {
        if names::check_exchange(exchange).is_err() {
            return Ok(Table::default());
        }
        let bindings = self.bindings(&self.exchange_file(exchange))?;
        let declared = match fs::read_to_string(self.type_file(exchange)) {
            Ok(kind) if !kind.is_empty() => Some(ExchangeType::from(kind.as_str())),
            _ => None,
        };
        let kind = declared.or_else(|| {
            // Python keeps types to itself.
            if bindings.iter().any(|(_, pattern, _)| !pattern.is_empty()) {
                Some(ExchangeType::Topic)
            } else {
                bindings.iter().any(|(key, ..)| !key.is_empty()).then_some(ExchangeType::Direct)
            }
        });
        let routes = bindings
            .into_iter()
            .map(|(key, _, queue)| Route::new(exchange, key, Destination::Queue(queue.into())));
        Ok(Table { kind, routes: routes.collect() })
    }

    /// Records an exchange's type.
    pub(crate) fn declare_exchange(&self, exchange: &str, kind: &ExchangeType) -> Result<()> {
        names::check_exchange(exchange)?;
        self.make()?;
        // Kombu locks a file of bindings that is there, and not one that it makes.
        change(&self.exchange_file(exchange), true, |_| {})?;
        let file = self.type_file(exchange);
        fs::write(&file, kind.as_str()).map_err(|error| error::io(error, "record exchange", &file))
    }

    /// Forgets an exchange.
    pub(crate) fn delete_exchange(&self, exchange: &str) -> Result<()> {
        if names::check_exchange(exchange).is_err() {
            return Ok(());
        }
        for file in [self.type_file(exchange), self.exchange_file(exchange)] {
            disk::remove(&file).map_err(|error| error::io(error, "delete exchange", &file))?;
        }
        Ok(())
    }

    /// Adds a binding at the start, as Kombu does.
    pub(crate) fn bind(&self, exchange: &str, binding: &Binding) -> Result<()> {
        names::check_exchange(exchange)?;
        names::check_queue(&binding.2)?;
        self.make()?;
        let file = self.exchange_file(exchange);
        let add = |bindings: &mut Vec<Binding>| {
            if !bindings.contains(binding) {
                bindings.insert(0, binding.clone());
            }
        };
        if change(&file, true, add)? {
            // Kombu looks whether there is a file before it makes one, and then empties that of
            // whoever made it meanwhile: what was empty is looked at again.
            thread::sleep(FIRST_BINDING);
            change(&file, true, add)?;
        }
        Ok(())
    }

    /// Removes the bindings of an exchange that are as described.
    pub(crate) fn unbind(&self, exchange: &str, gone: impl Fn(&Binding) -> bool) -> Result<()> {
        if names::check_exchange(exchange).is_err() {
            return Ok(());
        }
        let file = self.exchange_file(exchange);
        change(&file, false, |bindings| bindings.retain(|binding| !gone(binding))).map(drop)
    }

    /// Removes all bindings of a queue.
    pub(crate) fn unbind_queue(&self, queue: &str) -> Result<()> {
        for file in self.exchange_files()? {
            if self.bindings(&file)?.iter().any(|(.., bound)| bound == queue) {
                change(&file, false, |bindings| bindings.retain(|(.., bound)| bound != queue))?;
            }
        }
        Ok(())
    }

    /// Records that there is a queue.
    pub(crate) fn declare_queue(&self, queue: &str) -> Result<()> {
        names::check_queue(queue)?;
        self.make()?;
        let file = self.queue_file(queue);
        match File::create_new(&file) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(error::io(error, "record queue", &file))
            }
            _ => Ok(()),
        }
    }

    /// Forgets a queue.
    pub(crate) fn forget_queue(&self, queue: &str) -> Result<()> {
        let file = self.queue_file(queue);
        disk::remove(&file).map_err(|error| error::io(error, "delete queue", &file))
    }

    /// Whether a queue was declared, or is bound: Python records nothing else.
    pub(crate) fn has_queue(&self, queue: &str) -> Result<bool> {
        if self.queue_file(queue).exists() {
            return Ok(true);
        }
        for file in self.exchange_files()? {
            if self.bindings(&file)?.iter().any(|(.., bound)| bound == queue) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn exchange_files(&self) -> Result<Vec<PathBuf>> {
        let failed = |error| error::io(error, "list exchanges", &self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.to_str().is_some_and(|path| path.ends_with(".exchange")) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// The bindings in a file; none if there is no file.
    fn bindings(&self, file: &Path) -> Result<Vec<Binding>> {
        let failed = |error| error::io(error, "read bindings", file);
        let mut opened = match File::open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(failed)?,
        };
        opened.lock_shared().map_err(failed)?;
        let mut text = Vec::new();
        opened.read_to_end(&mut text).map_err(failed)?;
        parse(&text, file)
    }

    fn make(&self) -> Result<()> {
        if self.folder.is_dir() { Ok(()) } else { disk::make_folder(&self.folder) }
    }

    fn exchange_file(&self, exchange: &str) -> PathBuf {
        self.folder.join(format!("{exchange}.exchange"))
    }

    fn type_file(&self, exchange: &str) -> PathBuf {
        self.folder.join(format!("{exchange}.type"))
    }

    fn queue_file(&self, queue: &str) -> PathBuf {
        self.folder.join(format!("{queue}.queue"))
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes the bindings in a file under its lock, which Kombu takes as well. Says whether there were
/// none before.
fn change(file: &Path, create: bool, edit: impl FnOnce(&mut Vec<Binding>)) -> Result<bool> {
    let failed = |error| error::io(error, "change bindings", file);
    let mut options = File::options();
    options.read(true).write(true);
    let opened = match options.open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !create {
                return Ok(false);
            }
            match options.create_new(true).open(file) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    options.create_new(false).open(file)
                }
                made => made,
            }
        }
        opened => opened,
    };
    let mut opened = opened.map_err(failed)?;
    opened.lock().map_err(failed)?;
    let mut text = Vec::new();
    opened.read_to_end(&mut text).map_err(failed)?;
    let mut bindings = parse(&text, file)?;
    let before = bindings.clone();
    edit(&mut bindings);
    // What Kombu left behind a shorter list keeps Kombu from reading it.
    let whole = serde_json::from_slice::<Vec<Binding>>(&text).is_ok();
    if bindings == before && whole {
        return Ok(before.is_empty());
    }
    let mut json = serde_json::to_vec(&bindings).map_err(|error| failed(error.into()))?;
    let length = u64::try_from(json.len()).unwrap_or(u64::MAX);
    // The rest of a longer text is overwritten with spaces in the same call, so that whoever is
    // killed before it is cut off leaves JSON.
    json.resize(json.len().max(text.len()), b' ');
    opened.rewind().map_err(failed)?;
    opened.write_all(&json).map_err(failed)?;
    opened.set_len(length).map_err(failed)?;
    Ok(before.is_empty())
}

/// Reads the bindings. An empty file is one that is about to be written, or never was; what follows
/// the list is what a killed writer did not cut off.
fn parse(text: &[u8], file: &Path) -> Result<Vec<Binding>> {
    let mut lists = serde_json::Deserializer::from_slice(text).into_iter::<Vec<Binding>>();
    match lists.next() {
        None => Ok(Vec::new()),
        Some(Ok(bindings)) => Ok(bindings),
        Some(Err(error)) => Err(Error::new(
            ErrorKind::Decode,
            "the file is to be a list of bindings: [[routing key, pattern, queue], …]",
        )
        .during("read bindings")
        .with("path", file.display())
        .caused_by(error)),
    }
}

/// Longer than Kombu takes to make a file after it has seen that there is none.
const FIRST_BINDING: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = format!("kombu-control-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn binding(queue: &str) -> Binding {
        ("k".to_owned(), String::new(), queue.to_owned())
    }

    #[test]
    fn a_table_is_json_whatever_was_left_behind_it() {
        let folder = folder("rest");
        let control = Control::new(folder.clone());
        let file = folder.join("e.exchange");
        // As two of Kombu leave it that made the file at the same time.
        fs::write(&file, r#"[["k", "", "a"]], ["k", "", "bbb"]]"#).unwrap();
        assert_eq!(control.table("e").unwrap().routes.len(), 1);
        control.bind("e", &binding("a")).unwrap();
        let table: Vec<Binding> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(table, [binding("a")]);
        control.bind("e", &binding("b")).unwrap();
        control.unbind_queue("b").unwrap();
        let table: Vec<Binding> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(table, [binding("a")]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_others_change_is_seen_at_once() {
        let folder = folder("seen");
        let (control, other) = (Control::new(folder.clone()), Control::new(folder.clone()));
        control.declare_exchange("e", &ExchangeType::Direct).unwrap();
        assert_eq!(control.table("e").unwrap().routes.len(), 0);
        let version = control.version();
        assert!(version.is_some() && control.remembered("e").is_some());
        assert_eq!(control.version(), version);
        other.bind("e", &binding("q")).unwrap();
        assert_ne!(control.version(), version);
        assert!(control.remembered("e").is_none());
        assert_eq!(control.table("e").unwrap().routes.len(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn bindings_made_at_the_same_time_are_all_there() {
        let folder = folder("race");
        thread::scope(|scope| {
            for number in 0..8 {
                let control = Control::new(folder.clone());
                scope.spawn(move || control.bind("e", &binding(&number.to_string())).unwrap());
            }
        });
        assert_eq!(Control::new(folder.clone()).table("e").unwrap().routes.len(), 8);
        fs::remove_dir_all(folder).unwrap();
    }
}
