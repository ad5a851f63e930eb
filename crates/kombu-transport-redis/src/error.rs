//! From what the server and the driver report to [`Error`]; the only place that looks at either.

use fred::error::ErrorKind as Fred;
use kombu_core::{Error, ErrorKind, Scope};

/// The error for an answer of the server that is one: its code, and a text.
pub(crate) fn refused(text: &str) -> Error {
    let code = text.split(' ').next().unwrap_or_default();
    let (kind, scope) = match code {
        "NOAUTH" | "WRONGPASS" | "DENIED" => (ErrorKind::AccessRefused, Scope::Connection),
        "NOPERM" => (ErrorKind::AccessRefused, Scope::Local),
        // Not the master any more, or not ready yet: another server, or the same one later.
        "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "UNBLOCKED" | "MOVED" | "ASK" => {
            (ErrorKind::ConnectionLost, Scope::Connection)
        }
        // It takes no writes for now: memory, disk, replicas, a long script.
        "OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" | "TRYAGAIN" => {
            (ErrorKind::Blocked, Scope::Local)
        }
        "WRONGTYPE" => (ErrorKind::PreconditionFailed, Scope::Local),
        _ if text.contains("invalid password") || text.contains("invalid username-password") => {
            (ErrorKind::AccessRefused, Scope::Connection)
        }
        _ if text.contains("max number of clients") => {
            (ErrorKind::ConnectionLost, Scope::Connection)
        }
        _ => (ErrorKind::Other, Scope::Local),
    };
    Error::new(kind, text.to_owned()).scoped(scope)
}

/// The error for what fred reports.
pub(crate) fn fred(error: fred::error::Error) -> Error {
    let text = error.details().to_owned();
    let mapped = match error.kind() {
        Fred::Auth => {
            let refused = refused(&text);
            if refused.kind() == ErrorKind::Other {
                Error::new(ErrorKind::AccessRefused, text).scoped(Scope::Connection)
            } else {
                refused
            }
        }
        Fred::Tls => Error::new(ErrorKind::Tls, text).scoped(Scope::Connection),
        Fred::Timeout => Error::new(ErrorKind::Timeout, text).scoped(Scope::Connection),
        Fred::Protocol | Fred::Parse => {
            Error::new(ErrorKind::Protocol, text).scoped(Scope::Connection)
        }
        Fred::Config | Fred::Url | Fred::InvalidArgument => {
            Error::new(ErrorKind::InvalidArgument, text)
        }
        Fred::IO | Fred::Canceled | Fred::Routing | Fred::Cluster | Fred::Sentinel => {
            Error::lost(format!("the link broke: {text}"))
        }
        _ => {
            let refused = refused(&text);
            match refused.kind() {
                ErrorKind::Other => Error::lost(format!("the link broke: {text}")),
                _ => refused,
            }
        }
    };
    mapped.caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_kind_and_reach() {
        for (text, kind, scope) in [
            ("NOAUTH Authentication required.", ErrorKind::AccessRefused, Scope::Connection),
            (
                "WRONGPASS invalid username-password pair",
                ErrorKind::AccessRefused,
                Scope::Connection,
            ),
            ("NOPERM this user has no permissions", ErrorKind::AccessRefused, Scope::Local),
            ("READONLY You can't write", ErrorKind::ConnectionLost, Scope::Connection),
            ("LOADING Redis is loading", ErrorKind::ConnectionLost, Scope::Connection),
            ("OOM command not allowed", ErrorKind::Blocked, Scope::Local),
            ("WRONGTYPE Operation against", ErrorKind::PreconditionFailed, Scope::Local),
            ("ERR max number of clients reached", ErrorKind::ConnectionLost, Scope::Connection),
            ("ERR syntax error", ErrorKind::Other, Scope::Local),
        ] {
            let error = refused(text);
            assert_eq!((error.kind(), error.scope()), (kind, scope), "{text}");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_wrong_password_is_no_matter_of_waiting_and_a_blocked_server_is() {
        assert!(!refused("WRONGPASS x").is_recoverable());
        assert!(refused("OOM x").is_recoverable());
    }
}
