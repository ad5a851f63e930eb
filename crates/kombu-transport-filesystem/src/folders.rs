//! The folders of a connection.

use std::path::{Path, PathBuf};

use kombu_core::{Error, ErrorKind, Result};

use crate::disk;
use crate::error;
use crate::options::FilesystemOptions;

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    /// Messages are read from here.
    pub(crate) inbox: PathBuf,
    /// Messages are written to here.
    pub(crate) outbox: PathBuf,
    /// Exchanges, bindings, and which queues there are.
    pub(crate) control: PathBuf,
    /// Handled messages are kept here, if at all.
    pub(crate) processed: Option<PathBuf>,
    /// Claimed messages, in a folder of each connection. Kombu passes over it: what follows its
    /// dot is not the name of a queue and `.msg`.
    pub(crate) claims: PathBuf,
    /// Messages that nobody can read.
    pub(crate) corrupt: PathBuf,
    /// Messages that are being written.
    pub(crate) drafts: PathBuf,
}

impl Folders {
    /// Finds the folders, which must be there; only that of exchanges is made.
    pub(crate) fn open(options: &FilesystemOptions) -> Result<Self> {
        let inbox = existing("data_folder_in", &options.data_folder_in)?;
        let outbox = existing("data_folder_out", &options.data_folder_out)?;
        let processed = match options.store_processed {
            true => Some(existing("processed_folder", &options.processed_folder)?),
            false => None,
        };
        let control = absolute(&options.control_folder)?;
        if !control.is_dir() {
            disk::make_folder(&control).map_err(|error| error.with("option", "control_folder"))?;
        }
        Ok(Self {
            claims: inbox.join(".claimed"),
            corrupt: processed.clone().unwrap_or_else(|| inbox.join(".corrupt")),
            drafts: outbox.join(".drafts"),
            inbox,
            outbox,
            control,
            processed,
        })
    }
}

fn existing(option: &'static str, path: &Path) -> Result<PathBuf> {
    let path = absolute(path)?;
    let error = match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => return Ok(path),
        Ok(_) => Error::new(ErrorKind::InvalidArgument, "this is no folder"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            "there is no such folder; make it, or name another one by the option",
        ),
        Err(error) => error::io(error, "open folder", &path),
    };
    Err(error.during("open folder").with("option", option).with("path", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| error::io(error, "find folder", path))
}
