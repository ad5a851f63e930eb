//! From what etcd and its driver report to [`Error`]; the only place that looks at either.

use std::error::Error as _;

use etcd_client::Error as Etcd;
use kombu_core::{Error, ErrorKind, Scope};

/// The error for what the driver reports.
pub(crate) fn error(error: Etcd) -> Error {
    let mapped = match &error {
        Etcd::GRpcStatus(status) => {
            let mut text = status.message().to_owned();
            let mut cause = status.source();
            while let Some(below) = cause {
                text = format!("{text}: {below}");
                cause = below.source();
            }
            refused(i32::from(status.code()), text)
        }
        Etcd::InvalidArgs(text) => Error::new(ErrorKind::InvalidArgument, text.clone()),
        Etcd::InvalidUri(_) | Etcd::InvalidMetadataValue(_) => {
            Error::new(ErrorKind::InvalidArgument, error.to_string())
        }
        _ => {
            let mut text = error.to_string();
            if let Etcd::TransportError(transport) = &error {
                let mut cause = transport.source();
                while let Some(below) = cause {
                    text = format!("{text}: {below}");
                    cause = below.source();
                }
            }
            broken(text)
        }
    };
    mapped.caused_by(error)
}

/// The error for the code and the text of an answer that is one.
fn refused(code: i32, text: String) -> Error {
    let local = |kind| Error::new(kind, text.clone());
    match code {
        INVALID_ARGUMENT | FAILED_PRECONDITION
            if text.contains("auth") || text.contains("user") =>
        {
            local(ErrorKind::AccessRefused).scoped(Scope::Connection)
        }
        INVALID_ARGUMENT | OUT_OF_RANGE => local(ErrorKind::InvalidArgument),
        PERMISSION_DENIED => local(ErrorKind::AccessRefused),
        RESOURCE_EXHAUSTED if text.contains("larger") => local(ErrorKind::InvalidArgument),
        // It takes no writes for now: its space is used up, or it has too much to do.
        RESOURCE_EXHAUSTED => local(ErrorKind::Blocked),
        FAILED_PRECONDITION => local(ErrorKind::PreconditionFailed),
        NOT_FOUND if text.contains("lease") => Error::lost("the lease has ended"),
        NOT_FOUND => local(ErrorKind::NotFound),
        UNIMPLEMENTED => local(ErrorKind::Unsupported),
        _ => broken(text),
    }
}

fn broken(text: String) -> Error {
    if text.contains("certificate") || text.contains("tls handshake") {
        return Error::new(ErrorKind::Tls, text).scoped(Scope::Connection);
    }
    Error::lost(text)
}

/// The codes of gRPC.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const FAILED_PRECONDITION: i32 = 9;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_kind_and_reach() {
        for (code, text, kind, scope) in [
            (3, "etcdserver: request is too large", ErrorKind::InvalidArgument, Scope::Local),
            (
                3,
                "etcdserver: authentication failed, invalid user ID or password",
                ErrorKind::AccessRefused,
                Scope::Connection,
            ),
            (3, "etcdserver: user name is empty", ErrorKind::AccessRefused, Scope::Connection),
            (7, "etcdserver: permission denied", ErrorKind::AccessRefused, Scope::Local),
            (8, "etcdserver: mvcc: database space exceeded", ErrorKind::Blocked, Scope::Local),
            (
                8,
                "grpc: trying to send message larger than max",
                ErrorKind::InvalidArgument,
                Scope::Local,
            ),
            (
                5,
                "etcdserver: requested lease not found",
                ErrorKind::ConnectionLost,
                Scope::Connection,
            ),
            (14, "etcdserver: leader changed", ErrorKind::ConnectionLost, Scope::Connection),
            (16, "etcdserver: invalid auth token", ErrorKind::ConnectionLost, Scope::Connection),
            (14, "invalid peer certificate: x", ErrorKind::Tls, Scope::Connection),
        ] {
            let error = refused(code, text.to_owned());
            assert_eq!((error.kind(), error.scope()), (kind, scope), "{text}");
        }
    }
}
