//! Where things are: the checkout, the cache and the folder of running brokers.

use std::env;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Returns the root of the checkout this command was started from.
pub(crate) fn workspace() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Returns a folder that outlives a run, `kombu-xtask` in the user's cache, and makes it if need be.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => {
            PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache")
        }
    };
    make(base.join("kombu-xtask"))
}

/// Returns the folder that holds one folder per run of brokers, this user's own.
///
/// It is short, since Unix sockets below it may have at most 107 bytes.
pub(crate) fn runs() -> Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let path = env::temp_dir().join(format!("kombu-brokers-{user}"));
    // What is in it says which processes to end: nobody else may write there.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.with_context(|| format!("cannot create {}", path.display()))?;
    let owner = fs::symlink_metadata(&path)?.uid();
    ensure!(owner == user, "{} belongs to user {owner}", path.display());
    Ok(path)
}

/// Makes a folder and everything above it.
fn make(path: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path)
}
