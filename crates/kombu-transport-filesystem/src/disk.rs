//! What files need beyond the standard library's calls.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use kombu_core::Result;

use crate::error;

/// Makes a folder with the rights of the one that it is in; one that is there is no error.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {
            if let Some(Ok(parent)) = path.parent().map(fs::metadata) {
                // Those who may use the folder may use what is in it; the default will do too.
                let _rights = fs::set_permissions(path, parent.permissions());
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error::io(error, "make folder", path)),
    }
}

/// Opens a file to read it: no link, and without waiting for what is no file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        options.custom_flags(flags.bits().cast_signed());
    }
    options.open(path)
}

/// Makes the names in a folder outlast a power cut.
#[cfg(unix)]
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A folder is no file here; its names are on their own.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Brings everything to the disk that the file system of a folder still has in memory; `None` where
/// that cannot be asked for.
#[cfg(target_os = "linux")]
pub(crate) fn sync_all(folder: &Path) -> Option<io::Result<()>> {
    let synced = File::open(folder).and_then(|folder| Ok(rustix::fs::syncfs(folder)?));
    Some(synced)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sync_all(_: &Path) -> Option<io::Result<()>> {
    None
}

/// Moves a file, to another file system too.
pub(crate) fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            fs::remove_file(from)
        }
        done => done,
    }
}

/// Removes a file; one that is gone is no error.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
