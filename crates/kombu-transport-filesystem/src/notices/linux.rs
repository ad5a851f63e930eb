//! inotify.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::{About, Notice};

/// The notices of one folder.
#[derive(Debug)]
pub(crate) struct Notices {
    queue: OwnedFd,
    watch: i32,
    /// The device and the inode of the folder.
    place: (u64, u64),
    ended: AtomicBool,
}

impl Notices {
    /// Begins to listen; `None` where the file system does not tell everything: what other
    /// machines do to it, for instance.
    pub(crate) fn of(folder: &Path, about: About) -> io::Result<Option<Self>> {
        let kind = rustix::fs::statfs(folder)?.f_type;
        if !LOCAL.contains(&u32::try_from(kind).unwrap_or(0)) {
            return Ok(None);
        }
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let what = match about {
            About::Changes => {
                WatchFlags::CREATE
                    | WatchFlags::MODIFY
                    | WatchFlags::CLOSE_WRITE
                    | WatchFlags::DELETE
                    | WatchFlags::MOVE
            }
            About::Complete => WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO,
        };
        let own = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let place = place(folder)?;
        let watch = inotify::add_watch(&queue, folder, what | own)?;
        Ok(Some(Self { queue, watch, place, ended: AtomicBool::new(false) }))
    }

    /// Ends, and says so like anything else, if the folder is not the one that is listened to: of
    /// one that was removed nothing is told as long as a file of it is open.
    pub(crate) fn compare(&self, folder: &Path) {
        if !place(folder).is_ok_and(|place| place == self.place) {
            let _ended_already = inotify::remove_watch(&self.queue, self.watch);
        }
    }

    /// Whether the folder is gone, as far as that was taken.
    pub(crate) fn have_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Takes what was told since the last call, without waiting. Whatever was done to the folder
    /// before this call is among it.
    pub(crate) fn take(&self, mut each: impl FnMut(Notice<'_>)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.queue, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => {
                    self.ended.store(true, Ordering::Release);
                    return Err(error.into());
                }
            };
            let what = event.events();
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                each(Notice::Missed);
            } else if what.intersects(
                ReadFlags::DELETE_SELF
                    | ReadFlags::MOVE_SELF
                    | ReadFlags::UNMOUNT
                    | ReadFlags::IGNORED,
            ) {
                self.ended.store(true, Ordering::Release);
                each(Notice::Gone);
            } else if !what.contains(ReadFlags::ISDIR) {
                let name = event.file_name().and_then(|name| name.to_str().ok());
                each(Notice::File(name));
            }
        }
    }
}

fn place(folder: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::metadata(folder)?;
    Ok((found.dev(), found.ino()))
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> RawFd {
        self.queue.as_raw_fd()
    }
}

/// Wakes tasks when there are notices.
#[derive(Debug)]
pub(crate) struct Alarm(AsyncFd<Notices>);

impl Alarm {
    /// Inside a runtime with I/O.
    #[expect(deprecated, reason = "what replaces it is unsafe; owned descriptors are as it wants")]
    pub(crate) fn new(notices: Notices) -> io::Result<Self> {
        AsyncFd::new(notices).map(Self)
    }

    /// The notices.
    pub(crate) fn notices(&self) -> &Notices {
        self.0.get_ref()
    }

    /// Waits for a notice, which is left for [`Notices::take`]; may return without one. Cancel
    /// safe.
    pub(crate) async fn ring(&self) {
        // Cleared before notices are taken, so that none of those that come then is missed.
        match self.0.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }
}

/// File systems that tell everything, since nobody else can change them: bcachefs, btrfs, exfat,
/// ext2 to ext4, f2fs, fat, ntfs3, overlayfs, ramfs, tmpfs, xfs, zfs (`statfs(2)`).
const LOCAL: [u32; 12] = [
    0xca45_1a4e,
    0x9123_683e,
    0x2011_bab0,
    0xef53,
    0xf2f5_2010,
    0x4d44,
    0x7366_746e,
    0x794c_7630,
    0x8584_58f6,
    0x0102_1994,
    0x5846_5342,
    0x2fc1_2fc1,
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn complete_files_are_told_and_others_are_not() {
        let folder = std::env::temp_dir().join(format!("kombu-notices-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let notices = Notices::of(&folder, About::Complete).unwrap().expect("a local file system");
        let taken = || {
            let mut names = Vec::new();
            notices.take(|notice| names.push(format!("{notice:?}"))).unwrap();
            names
        };
        let file = fs::File::create(folder.join("a")).unwrap();
        fs::create_dir(folder.join("sub")).unwrap();
        assert_eq!(taken(), Vec::<String>::new());
        drop(file);
        fs::write(folder.join("sub/b"), "x").unwrap();
        fs::rename(folder.join("sub/b"), folder.join("b")).unwrap();
        assert_eq!(taken(), ["File(Some(\"a\"))", "File(Some(\"b\"))"]);
        fs::remove_dir_all(&folder).unwrap();
        assert!(taken().contains(&"Gone".to_owned()));
    }
}
