//! From what the operating system reports to [`Error`]; the only place that looks at it.

use std::io;
use std::path::Path;

use kombu_core::{Error, ErrorKind};

/// The error of a call on a file or folder; `operation` is what follows "cannot".
pub(crate) fn io(error: io::Error, operation: &'static str, path: &Path) -> Error {
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "there is no such file or folder"),
        io::ErrorKind::NotADirectory => (ErrorKind::NotFound, "this is no folder"),
        io::ErrorKind::PermissionDenied => {
            (ErrorKind::AccessRefused, "this process has no right to it")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::AccessRefused, "the file system is read-only")
        }
        io::ErrorKind::StorageFull => (ErrorKind::Blocked, "the disk is full"),
        io::ErrorKind::QuotaExceeded => (ErrorKind::Blocked, "the quota of the disk is used up"),
        io::ErrorKind::InvalidFilename => {
            (ErrorKind::InvalidArgument, "the file system takes no such name")
        }
        _ => (ErrorKind::Other, ""),
    };
    let message = match message {
        "" => error.to_string(),
        message => message.to_owned(),
    };
    Error::new(kind, message).during(operation).with("path", path.display()).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_is_wrong_and_whether_it_may_pass() {
        for (system, kind, words, passes) in [
            (io::ErrorKind::StorageFull, ErrorKind::Blocked, "the disk is full", true),
            (io::ErrorKind::PermissionDenied, ErrorKind::AccessRefused, "no right", false),
            (io::ErrorKind::ReadOnlyFilesystem, ErrorKind::AccessRefused, "read-only", false),
            (io::ErrorKind::NotFound, ErrorKind::NotFound, "no such file or folder", false),
        ] {
            let error = io(system.into(), "write message", Path::new("/data/x"));
            assert_eq!((error.kind(), error.is_recoverable()), (kind, passes));
            let text = error.to_string();
            assert!(text.starts_with("cannot write message: ") && text.contains(words), "{text}");
            assert!(text.contains("path=/data/x"), "{text}");
        }
    }
}
