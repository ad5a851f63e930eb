//! From what the driver and the server report to [`Error`]; the only place that looks at either.

use std::error::Error as StdError;

use kombu_core::{Error, ErrorKind, Scope};
use mongodb::error::{Error as DriverError, ErrorKind as Driver, WriteFailure};
use tokio_rustls::rustls;

/// The error for what the driver reports.
pub(crate) fn driver(error: DriverError) -> Error {
    let mapped = match error.kind.as_ref() {
        Driver::Authentication { message, .. } => Error::new(
            ErrorKind::AccessRefused,
            format!("the server does not take the credentials: {message}"),
        )
        .scoped(Scope::Connection),
        Driver::Command(refused) => command(refused.code, &refused.message),
        Driver::Write(WriteFailure::WriteError(refused)) => command(refused.code, &refused.message),
        Driver::Write(WriteFailure::WriteConcernError(refused)) => {
            command(refused.code, &refused.message)
        }
        Driver::InsertMany(refused) => match &refused.write_concern_error {
            Some(refused) => command(refused.code, &refused.message),
            None => Error::new(ErrorKind::Other, "some documents were not inserted"),
        },
        Driver::InvalidTlsConfig { message, .. } => {
            Error::new(ErrorKind::Tls, message.clone()).scoped(Scope::Connection)
        }
        Driver::InvalidArgument { message, .. } => {
            Error::new(ErrorKind::InvalidArgument, message.clone())
        }
        Driver::IncompatibleServer { message, .. } => {
            Error::new(ErrorKind::Unsupported, message.clone())
        }
        Driver::InvalidResponse { message, .. } => {
            Error::new(ErrorKind::Protocol, message.clone()).scoped(Scope::Connection)
        }
        Driver::DnsResolve { message, .. } => {
            Error::lost(format!("the name is not resolved: {message}"))
        }
        Driver::Io(failure) if concerns_tls(failure.as_ref()) => {
            Error::new(ErrorKind::Tls, failure.to_string()).scoped(Scope::Connection)
        }
        Driver::Io(failure) => Error::lost(format!("the link broke: {failure}")),
        Driver::ServerSelection { message, .. } => Error::lost(message.clone()),
        Driver::ConnectionPoolCleared { message, .. } => {
            Error::lost(format!("the link broke: {message}"))
        }
        Driver::Shutdown => Error::closed("connection").scoped(Scope::Connection),
        other => Error::new(ErrorKind::Other, other.to_string()),
    };
    mapped.caused_by(error)
}

/// Whether the server cannot do what it was told at all.
pub(crate) fn is_not_implemented(error: &DriverError) -> bool {
    match error.kind.as_ref() {
        // Not implemented, no such command, unknown option, wrong value.
        Driver::Command(refused) => matches!(refused.code, 238 | 59 | 72 | 2 | 9 | 40_415),
        _ => false,
    }
}

/// Whether something is there already.
pub(crate) fn is_there(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), Driver::Command(refused) if refused.code == 48)
}

/// Whether the server has closed a cursor.
pub(crate) fn is_cursor_gone(error: &Error) -> bool {
    let driver = error.source().and_then(|source| source.downcast_ref::<DriverError>());
    // Not found, killed, its position was overwritten, its plan was killed.
    driver.is_some_and(|error| {
        matches!(
            error.kind.as_ref(),
            Driver::Command(refused) if matches!(refused.code, 43 | 136 | 175 | 237)
        )
    })
}

/// The places of an insertion that failed, each with its error; none if all of it did.
pub(crate) fn failed_places(error: &DriverError) -> Option<Vec<(usize, Error)>> {
    let Driver::InsertMany(failed) = error.kind.as_ref() else { return None };
    if failed.write_concern_error.is_some() {
        return None;
    }
    let failures = failed.write_errors.as_deref().unwrap_or_default();
    Some(failures.iter().map(|one| (one.index, command(one.code, &one.message))).collect())
}

/// The error for an answer of the server that is one.
fn command(code: i32, message: &str) -> Error {
    let (kind, scope) = match code {
        // Authentication failed, and of a user whose password has expired.
        18 | 334 => (ErrorKind::AccessRefused, Scope::Connection),
        13 | 8000 => (ErrorKind::AccessRefused, Scope::Local),
        // Shutting down, not the primary any more or not yet, unreachable: another server, or the
        // same one later.
        6 | 7 | 89 | 91 | 189 | 9001 | 10_058 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436 => {
            (ErrorKind::ConnectionLost, Scope::Connection)
        }
        // It takes no writes for now: memory, disk, too few replicas.
        14_031 | 146 | 100 => (ErrorKind::Blocked, Scope::Local),
        10_334 | 17_280 | 17_419 | 17_420 => (ErrorKind::InvalidArgument, Scope::Local),
        85 | 86 => (ErrorKind::PreconditionFailed, Scope::Local),
        50 => (ErrorKind::Timeout, Scope::Local),
        238 => (ErrorKind::Unsupported, Scope::Local),
        _ => (ErrorKind::Other, Scope::Local),
    };
    Error::new(kind, format!("{message} (code {code})")).scoped(scope)
}

fn concerns_tls(error: &(dyn StdError + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    if let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        return concerns_tls(inner);
    }
    error.source().is_some_and(concerns_tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_kind_and_reach() {
        for (code, kind, scope) in [
            (18, ErrorKind::AccessRefused, Scope::Connection),
            (13, ErrorKind::AccessRefused, Scope::Local),
            (91, ErrorKind::ConnectionLost, Scope::Connection),
            (10_107, ErrorKind::ConnectionLost, Scope::Connection),
            (14_031, ErrorKind::Blocked, Scope::Local),
            (10_334, ErrorKind::InvalidArgument, Scope::Local),
            (1, ErrorKind::Other, Scope::Local),
        ] {
            let error = command(code, "words");
            assert_eq!((error.kind(), error.scope()), (kind, scope), "{code}");
            assert!(error.to_string().contains("words"), "{error}");
        }
    }

    #[test]
    fn tls_is_recognized_within_input_and_output() {
        let inner = rustls::Error::General("no".to_owned());
        let outer = std::io::Error::new(std::io::ErrorKind::InvalidData, inner);
        assert!(concerns_tls(&outer));
        assert!(!concerns_tls(&std::io::Error::other("no")));
    }
}
