//! From what sockets and daemons report to [`Error`].

use std::io;

use kombu_core::{Error, ErrorKind, Scope};

/// A link that broke.
pub(crate) fn broken(error: io::Error) -> Error {
    Error::lost(format!("the link broke: {error}")).caused_by(error)
}

/// A link that the other side closed.
pub(crate) fn hung_up() -> Error {
    Error::lost("the other side closed the link")
}

/// What a daemon says when it does not take a greeting. The protocol has no codes for it, only
/// texts.
pub(crate) fn unwelcome(said: &str) -> Error {
    let refused = |kind, message: String| Error::new(kind, message).scoped(Scope::Connection);
    if said.contains("hmac") {
        let message = format!("it refuses the HMAC key, or that there is none: {said}");
        return refused(ErrorKind::AccessRefused, message);
    }
    if said.contains("serializer that is not accepted") {
        let message = format!(
            "it does not take JSON: its configuration SERIALIZERS_ACCEPTED must have json ({said})"
        );
        return refused(ErrorKind::Protocol, message);
    }
    if said.contains("no free workers") {
        let message = format!(
            "it has as many connections as it takes, as its configuration THREADPOOL_SIZE says \
             ({said})"
        );
        return Error::lost(message);
    }
    // An object that is unknown may be that of a daemon that is gone, and registered again soon.
    Error::lost(format!("it refuses the connection: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (said, kind) in [
            ("hmac key config not symmetric", ErrorKind::AccessRefused),
            ("message hmac mismatch", ErrorKind::AccessRefused),
            ("message used serializer that is not accepted: 2", ErrorKind::Protocol),
            ("no free workers, increase server threadpool size", ErrorKind::ConnectionLost),
            ("unknown object", ErrorKind::ConnectionLost),
        ] {
            let error = unwelcome(said);
            assert_eq!(error.kind(), kind);
            assert_eq!(error.is_recoverable(), kind == ErrorKind::ConnectionLost);
            assert!(error.to_string().contains(said));
        }
    }
}
