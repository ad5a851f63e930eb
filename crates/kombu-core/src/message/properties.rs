//! Message properties.

use std::borrow::Cow;

use crate::entity::DeliveryMode;
use crate::value::Table;

/// The properties of a message: AMQP's basic class (0-9-1 section 1.8), as every transport
/// carries them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// The MIME type of the body, such as `application/json`.
    pub content_type: Option<Cow<'static, str>>,
    /// The character set of the body: `utf-8`, or `binary`.
    pub content_encoding: Option<Cow<'static, str>>,
    /// The application's headers. Kombu's `compression` header names the body's compression.
    pub headers: Table,
    /// Whether the broker keeps it on disk. Kombu always sends it.
    pub delivery_mode: DeliveryMode,
    /// The priority, 0 to 255; Kombu uses 0 to 9. Which end is served first is the broker's
    /// matter: see `Capabilities::priority_order`.
    pub priority: u8,
    /// Which request this answers.
    pub correlation_id: Option<String>,
    /// The queue that awaits the answer.
    pub reply_to: Option<String>,
    /// When the message expires: whole milliseconds from publishing, as text.
    pub expiration: Option<String>,
    /// The publisher's name for the message.
    pub message_id: Option<String>,
    /// When it was published, in seconds since 1970-01-01 UTC.
    pub timestamp: Option<u64>,
    /// The publisher's name for the kind of message (`type`).
    pub kind: Option<String>,
    /// The publishing user; brokers check it.
    pub user_id: Option<String>,
    /// The publishing program.
    pub app_id: Option<String>,
    /// Deprecated by AMQP; carried along.
    pub cluster_id: Option<String>,
    /// Further properties of Kombu's envelope, which AMQP has no room for.
    pub extra: Table,
}

impl Properties {
    /// Properties with Kombu's defaults: persistent, priority 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
