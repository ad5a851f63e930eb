//! The one error of all crates: what kind, how far it reaches, during what, with what.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};

/// The result of everything in Kombu for Rust that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, independent of the broker.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// The broker refused the credentials or the right to do this (AMQP 403, 530).
    AccessRefused,
    /// The broker stopped accepting publishes for now (memory or disk alarm).
    Blocked,
    /// The broker ended the consumer, for instance because its queue was deleted.
    Cancelled,
    /// The handle, channel or connection was closed by this side.
    Closed,
    /// The link to the broker could not be made, or broke.
    ConnectionLost,
    /// The body's content type is not in the accept list.
    ContentDisallowed,
    /// The bytes do not mean what they claim to be.
    Decode,
    /// The value cannot be written in the chosen form.
    Encode,
    /// An argument, option or name is wrong; nothing was sent.
    InvalidArgument,
    /// The URL does not follow the grammar.
    InvalidUrl,
    /// A pool has lent all that it may lend.
    LimitExceeded,
    /// A message was settled that had been settled before.
    MessageState,
    /// The broker refused the message (`basic.nack`, queue full).
    Nacked,
    /// The exchange, queue or other entity does not exist (AMQP 404).
    NotFound,
    /// The entity exists with other properties, or is in use (AMQP 406).
    PreconditionFailed,
    /// The peer broke the protocol, or this side met an answer it cannot understand.
    Protocol,
    /// The program at the other end got the request, and answered with a failure.
    Remote,
    /// Somebody else holds the entity exclusively (AMQP 405).
    ResourceLocked,
    /// The delivery belongs to a link that is gone; the broker gives the message again.
    StaleDelivery,
    /// The deadline passed.
    Timeout,
    /// A TLS handshake or certificate failed.
    Tls,
    /// No queue took the message, and the publisher asked to be told (`mandatory`).
    Unroutable,
    /// This broker cannot do this; see `Capabilities`.
    Unsupported,
    /// Anything the transport could not name more closely.
    Other,
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::AccessRefused => "access refused",
            Self::Blocked => "broker blocked publishing",
            Self::Cancelled => "consumer cancelled by the broker",
            Self::Closed => "closed",
            Self::ConnectionLost => "connection lost",
            Self::ContentDisallowed => "content type not accepted",
            Self::Decode => "cannot decode",
            Self::Encode => "cannot encode",
            Self::InvalidArgument => "invalid argument",
            Self::InvalidUrl => "invalid URL",
            Self::LimitExceeded => "limit exceeded",
            Self::MessageState => "message already settled",
            Self::Nacked => "refused by the broker",
            Self::NotFound => "not found",
            Self::PreconditionFailed => "precondition failed",
            Self::Protocol => "protocol error",
            Self::Remote => "the other side failed",
            Self::ResourceLocked => "resource locked",
            Self::StaleDelivery => "delivery of a lost link",
            Self::Timeout => "timed out",
            Self::Tls => "TLS failure",
            Self::Unroutable => "unroutable",
            Self::Unsupported => "unsupported",
            Self::Other => "failed",
        }
    }
}

/// How much is broken by an error, hence what recovery must rebuild.
///
/// Kombu's `connection_errors` and `channel_errors` are [`Scope::Connection`] and
/// [`Scope::Channel`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete: a failure reaches one of these three")]
pub enum Scope {
    /// The link is gone, with all its channels.
    Connection,
    /// The channel is gone; others on the link live on.
    Channel,
    /// Only this call failed.
    Local,
}

/// An error with kind, scope, operation, context and source.
///
/// `Display` is one line: `cannot bind queue: not found: NOT_FOUND - no exchange 'media'
/// (queue=video)`. Credentials never appear: contexts hold masked URLs only.
///
/// ```
/// use kombu_core::{Error, ErrorKind, Scope};
/// let error = Error::new(ErrorKind::NotFound, "no exchange 'media'")
///     .during("bind queue").with("queue", "video").scoped(Scope::Channel);
/// assert_eq!(error.to_string(), "cannot bind queue: not found: no exchange 'media' (queue=video)");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    scope: Scope,
    operation: Option<&'static str>,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    recoverable: Option<bool>,
}

impl Error {
    /// Makes an error that concerns one call only.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            scope: Scope::Local,
            operation: None,
            message: message.into(),
            context: Vec::new(),
            source: None,
            recoverable: None,
        }))
    }

    /// Makes the error for a feature that `transport` does not have.
    #[must_use]
    pub fn unsupported(transport: &str, capability: &'static str) -> Self {
        Self::new(ErrorKind::Unsupported, format!("transport {transport:?} has no {capability}"))
    }

    /// Makes the error of a link that could not be made or broke; its scope is the connection.
    #[must_use]
    pub fn lost(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::ConnectionLost, message).scoped(Scope::Connection)
    }

    /// Makes the error of a call on something that this side closed.
    #[must_use]
    pub fn closed(what: &'static str) -> Self {
        Self::new(ErrorKind::Closed, format!("the {what} was closed"))
    }

    /// Sets what was being done, as the words after "cannot": `bind queue`.
    ///
    /// The innermost operation stays: it is the more exact one.
    #[must_use]
    pub fn during(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Adds a fact, shown as `key=value`. Never pass a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.context.iter().any(|(have, _)| *have == key) {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Sets how far the failure reaches.
    #[must_use]
    pub fn scoped(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// Keeps the error below this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says whether trying again can help, where kind and scope do not tell.
    #[must_use]
    pub fn recoverable(mut self, recoverable: bool) -> Self {
        self.0.recoverable = Some(recoverable);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// How far the failure reaches.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// The operation, if it was recorded: the words after "cannot".
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The message alone, without operation, kind and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The facts recorded with the error.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// Whether the same call may succeed on a new link or a little later.
    ///
    /// Lost links, alarms, refused messages and timeouts are; refused credentials, missing
    /// entities and wrong arguments are not.
    #[must_use]
    pub fn is_recoverable(&self) -> bool {
        self.0.recoverable.unwrap_or(matches!(
            self.0.kind,
            ErrorKind::Blocked
                | ErrorKind::Cancelled
                | ErrorKind::ConnectionLost
                | ErrorKind::Nacked
                | ErrorKind::StaleDelivery
                | ErrorKind::Timeout
        ))
    }

    /// A copy for a second receiver of the same failure; the source becomes its text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            scope: self.0.scope,
            operation: self.0.operation,
            message: self.0.message.clone(),
            context: self.0.context.clone(),
            source: self.0.source.as_ref().map(|source| source.to_string().into()),
            recoverable: self.0.recoverable,
        }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(operation) = self.0.operation {
            write!(f, "cannot {operation}: ")?;
        }
        f.write_str(self.0.kind.text())?;
        if !self.0.message.is_empty() {
            write!(f, ": {}", self.0.message)?;
        }
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            f.write_str(if index == 0 { " (" } else { " " })?;
            write!(f, "{key}={value}")?;
        }
        if !self.0.context.is_empty() {
            f.write_char(')')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}, scope {:?}]", self.0.kind, self.0.scope)?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, "\n  caused by: {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn StdError + 'static))
    }
}
