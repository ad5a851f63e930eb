//! From what brokers and drivers report to [`Error`]; the only place that looks at either.

use std::borrow::Cow;

use kombu_core::{Error, ErrorKind, Scope};
use lapin::ErrorKind as Lapin;

/// The error for a reply code of AMQP 0-9-1 (section 1.2 and RabbitMQ's additions) and its text.
///
/// Codes of the class "channel" close one channel, the others the connection.
pub(crate) fn reply(code: u16, text: &str) -> Error {
    let (kind, scope) = match code {
        // The message is larger than the broker takes.
        311 => (ErrorKind::InvalidArgument, Scope::Channel),
        313 => (ErrorKind::Unroutable, Scope::Channel),
        // The code is that of missing rights; only the text tells an exclusive consumer.
        403 if text.ends_with("in exclusive use") => (ErrorKind::ResourceLocked, Scope::Channel),
        403 => (ErrorKind::AccessRefused, Scope::Channel),
        404 => (ErrorKind::NotFound, Scope::Channel),
        405 => (ErrorKind::ResourceLocked, Scope::Channel),
        406 => (ErrorKind::PreconditionFailed, Scope::Channel),
        // Closed by an operator, or the broker stops.
        320 => (ErrorKind::ConnectionLost, Scope::Connection),
        402 => (ErrorKind::NotFound, Scope::Connection),
        501..=505 => (ErrorKind::Protocol, Scope::Connection),
        // Out of resources: memory, or channel numbers.
        506 => (ErrorKind::ConnectionLost, Scope::Connection),
        530 if text.contains("vhost") && text.contains("not found") => {
            (ErrorKind::NotFound, Scope::Connection)
        }
        530 => (ErrorKind::AccessRefused, Scope::Connection),
        540 => (ErrorKind::Unsupported, Scope::Connection),
        541 => (ErrorKind::Other, Scope::Connection),
        _ => (ErrorKind::Protocol, Scope::Connection),
    };
    let error = Error::new(kind, text.to_owned()).scoped(scope).with("code", code);
    // The broker gave up waiting for a settlement: only this channel, and a new one will do.
    let timed_out = code == 406 && text.contains("delivery acknowledgement");
    if timed_out || code == 541 { error.recoverable(true) } else { error }
}

/// The error for what lapin reports.
pub(crate) fn lapin(error: lapin::Error) -> Error {
    let lost = |message: Cow<'static, str>| Error::lost(message);
    let mapped = match error.kind() {
        Lapin::ProtocolError(refused) => {
            return reply(refused.get_id(), refused.get_message().as_str());
        }
        Lapin::ChannelsLimitReached => Error::new(
            ErrorKind::PreconditionFailed,
            "the broker allows no more channels on this connection",
        ),
        Lapin::IOError(io) | Lapin::RuntimeShutdownError(io) => {
            lost(format!("the link broke: {io}").into())
        }
        Lapin::MissingHeartbeatError => lost("the broker was silent for two heartbeats".into()),
        Lapin::InvalidConnectionState(_) => lost("the connection is closed".into()),
        Lapin::InvalidChannelState(..) | Lapin::InvalidChannel(_) => channel_gone(),
        Lapin::ParsingError(_) => Error::new(
            ErrorKind::Protocol,
            "the broker sent what AMQP 0-9-1 does not allow, such as a name that is not UTF-8",
        )
        .scoped(Scope::Connection),
        Lapin::SerialisationError(_) => {
            Error::new(ErrorKind::Encode, error.to_string()).scoped(Scope::Connection)
        }
        Lapin::InvalidProtocolVersion(_) | Lapin::AuthProviderError(_) => {
            Error::new(ErrorKind::Protocol, error.to_string()).scoped(Scope::Connection)
        }
        _ => Error::new(ErrorKind::Other, error.to_string()).scoped(Scope::Connection),
    };
    mapped.caused_by(error)
}

/// The error for what amqprs reports: it has texts only, and all of them are ends of the link.
#[cfg(feature = "amqprs")]
pub(crate) fn amqprs(error: amqprs::error::Error) -> Error {
    Error::lost(format!("the link broke: {error}")).caused_by(error)
}

/// The error of a call on a channel that is gone for a reason not known here.
pub(crate) fn channel_gone() -> Error {
    Error::closed("channel").scoped(Scope::Channel)
}

/// The error for deliveries of a channel that is gone.
pub(crate) fn stale() -> Error {
    Error::new(
        ErrorKind::StaleDelivery,
        "the channel that delivered the message is gone; the broker gives the message again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_kind_and_reach() {
        for (code, text, kind, scope) in [
            (403, "ACCESS_REFUSED - x", ErrorKind::AccessRefused, Scope::Channel),
            (
                403,
                "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use",
                ErrorKind::ResourceLocked,
                Scope::Channel,
            ),
            (404, "NOT_FOUND - x", ErrorKind::NotFound, Scope::Channel),
            (405, "RESOURCE_LOCKED - x", ErrorKind::ResourceLocked, Scope::Channel),
            (406, "PRECONDITION_FAILED - x", ErrorKind::PreconditionFailed, Scope::Channel),
            (320, "CONNECTION_FORCED - x", ErrorKind::ConnectionLost, Scope::Connection),
            (504, "CHANNEL_ERROR - x", ErrorKind::Protocol, Scope::Connection),
            (530, "NOT_ALLOWED - vhost x not found", ErrorKind::NotFound, Scope::Connection),
            (
                530,
                "NOT_ALLOWED - access to vhost 'x' refused for user 'y'",
                ErrorKind::AccessRefused,
                Scope::Connection,
            ),
            (540, "NOT_IMPLEMENTED - x", ErrorKind::Unsupported, Scope::Connection),
        ] {
            let error = reply(code, text);
            assert_eq!((error.kind(), error.scope()), (kind, scope), "{code}");
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.to_string().contains(&code.to_string()), "{error}");
        }
    }

    #[test]
    fn an_acknowledgement_that_timed_out_is_recoverable() {
        let text = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out";
        assert!(reply(406, text).is_recoverable());
        assert!(!reply(406, "PRECONDITION_FAILED - inequivalent arg").is_recoverable());
    }
}
