//! Reading message files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use kombu_virtual::envelope::{self, Envelope};

use crate::disk;

/// What a claimed file holds.
#[derive(Debug)]
pub(crate) enum Content {
    /// A message, and the bytes that were read.
    Message(Box<Envelope>, usize),
    /// No message, so far.
    Unreadable {
        /// Why.
        reason: String,
        /// What is in it.
        stored: Vec<u8>,
        /// Whether somebody may be writing it still.
        perhaps_later: bool,
        /// Whether somebody surely is: the file is locked, as Kombu does while it writes.
        locked: bool,
    },
}

/// Reads a message file.
///
/// Kombu makes the file under its final name, locks it, and writes then: one that is empty or ends
/// too early may be complete a moment later. One that is valid JSON is complete.
pub(crate) fn read(path: &Path, buffer: &mut Vec<u8>) -> io::Result<Content> {
    let mut file = disk::open(path)?;
    buffer.clear();
    buffer.resize(buffer.capacity().max(LEAST), 0);
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let Some(free) = buffer.get_mut(filled..) else { break };
        let room = free.len();
        let count = match file.read(free) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        filled += count;
        // A file has no more when it gives less than was asked for.
        if count < room {
            break;
        }
    }
    let stored = buffer.get(..filled).unwrap_or_default();
    match envelope::decode(stored) {
        Ok(envelope) => Ok(Content::Message(Box::new(envelope), filled)),
        Err(error) => unreadable(&file, stored.to_vec(), error.to_string()),
    }
}

fn unreadable(file: &File, stored: Vec<u8>, reason: String) -> io::Result<Content> {
    let reason = if stored.is_empty() { "the file is empty".to_owned() } else { reason };
    let is_file = file.metadata()?.is_file();
    // A lock that cannot be had for another reason says nothing.
    let locked = matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock));
    Ok(Content::Unreadable { reason, stored, perhaps_later: is_file, locked })
}

/// The least size of a buffer.
const LEAST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use kombu_core::transport::Publish;
    use kombu_core::{Message, Properties};
    use kombu_virtual::envelope::Stamp;

    use super::*;

    fn file(name: &str, content: &[u8]) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("kombu-read-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn large_and_small_files_are_read_whole() {
        for length in [0, 100, 12_000, 16_384, 100_000] {
            let message = Message::new("x".repeat(length), Properties::new());
            let publish = Publish::new("e", "k", message);
            let text = envelope::encode(&publish, &Stamp::new("tag")).unwrap();
            let path = file("whole", text.as_bytes());
            let mut buffer = Vec::new();
            let Content::Message(read, size) = read(&path, &mut buffer).unwrap() else {
                panic!("a message of {length} bytes");
            };
            assert_eq!((read.message.body.len(), size), (length, text.len()));
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_told_from_one_that_is_not() {
        let path = file("half", b"{\"body\": \"");
        let locked_by_writer = || match read(&path, &mut Vec::new()).unwrap() {
            Content::Unreadable { locked, perhaps_later, .. } => perhaps_later.then_some(locked),
            Content::Message(..) => None,
        };
        assert_eq!(locked_by_writer(), Some(false));
        let writer = File::options().write(true).open(&path).unwrap();
        writer.lock().unwrap();
        assert_eq!(locked_by_writer(), Some(true));
        drop(writer);
        assert_eq!(locked_by_writer(), Some(false));
        fs::remove_file(path).unwrap();
    }
}
