//! From what ZooKeeper and its driver report to [`Error`]; the only place that looks at either.

use kombu_core::{Error, ErrorKind, Scope};
use zookeeper_client::Error as Zk;

/// The error for what the driver reports.
pub(crate) fn error(error: Zk) -> Error {
    let new = |kind, scope, text: &str| Error::new(kind, text.to_owned()).scoped(scope);
    let mapped = match &error {
        Zk::NoAuth => new(
            ErrorKind::AccessRefused,
            Scope::Local,
            "a node's ACL does not give this identity the right; ZooKeeper takes any user and \
             password, and compares them with ACLs only",
        ),
        Zk::InvalidAcl => new(
            ErrorKind::InvalidArgument,
            Scope::Local,
            "the server does not take the ACL: `creator` needs a user and a password in the URL",
        ),
        Zk::AuthFailed => {
            new(ErrorKind::AccessRefused, Scope::Connection, "the server refuses the credentials")
        }
        Zk::QuotaExceeded => new(ErrorKind::Blocked, Scope::Local, "a node's quota is used up"),
        Zk::Throttled => new(ErrorKind::Blocked, Scope::Local, "the server is overloaded"),
        Zk::Unimplemented => new(
            ErrorKind::Unsupported,
            Scope::Local,
            "the server does not know the request: this transport needs ZooKeeper 3.6 or later",
        ),
        Zk::NoNode => new(ErrorKind::NotFound, Scope::Local, "there is no such node"),
        Zk::NodeExists | Zk::NotEmpty | Zk::NoChildrenForEphemerals | Zk::BadVersion => {
            new(ErrorKind::PreconditionFailed, Scope::Local, &error.to_string())
        }
        Zk::BadArguments(_) => new(ErrorKind::InvalidArgument, Scope::Local, &error.to_string()),
        Zk::SessionExpired => Error::lost("the session has expired"),
        Zk::NotReadOnly => Error::lost("the server has lost its ensemble and takes no writes"),
        Zk::UnmarshalError { .. } => {
            new(ErrorKind::Protocol, Scope::Connection, &error.to_string())
        }
        // A link that broke ends with whatever its socket said.
        _ => Error::lost(format!("the link broke: {error}")),
    };
    mapped.caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_concern_one_call_and_broken_links_all() {
        assert_eq!(error(Zk::NoAuth).scope(), Scope::Local);
        assert!(!error(Zk::NoAuth).is_recoverable());
        for lost in [Zk::ConnectionLoss, Zk::SessionExpired, Zk::ClientClosed, Zk::Timeout] {
            assert_eq!(error(lost.clone()).scope(), Scope::Connection, "{lost}");
            assert!(error(lost).is_recoverable());
        }
    }
}
