//! Kombu's envelope: the JSON object in which a message travels through a broker that knows only
//! bytes (`kombu/transport/virtual/base.py`, version 5.7).
//!
//! ```text
//! {"body": "aGk=", "content-encoding": "utf-8", "content-type": "text/plain", "headers": {},
//!  "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "q"},
//!                 "priority": 0, "body_encoding": "base64", "delivery_tag": "8ce21af8-…"}}
//! ```
//!
//! ```
//! use kombu_core::transport::Publish;
//! use kombu_core::{Message, Properties};
//! use kombu_virtual::envelope::{self, Stamp};
//!
//! let publish = Publish::new("media", "video", Message::new("hi", Properties::new()));
//! let text = envelope::encode(&publish, &Stamp::new(&envelope::new_tag()))?;
//! let envelope = envelope::decode(text.as_bytes())?;
//! assert_eq!(envelope.message.body, "hi");
//! assert_eq!(envelope.routing_key, "video");
//! # Ok::<(), kombu_core::Error>(())
//! ```

mod read;
mod scan;
mod tag;
mod write;

use kombu_core::Message;
use kombu_core::transport::Publish;

pub use read::decode;
pub use tag::new_tag;
pub use write::encode;

/// How the body is written in the envelope. Readers follow what the envelope says.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "Kombu has these two")]
pub enum BodyEncoding {
    /// In base64: Kombu's default.
    #[default]
    Base64,
    /// As it is, which needs a body of text; other bodies are written in base64.
    ///
    /// # Kombu
    ///
    /// `body_encoding` `utf-8` or none, where a body that is no text makes publishing fail.
    Text,
}

/// What is written into the envelope beside the message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stamp<'a> {
    /// Names the message: see [`new_tag`]. Kombu cannot read an envelope without it.
    pub delivery_tag: &'a str,
    /// How the body is written. Default: base64.
    pub body_encoding: BodyEncoding,
    /// Whether the message was delivered before. Default: false.
    pub redelivered: bool,
}

impl<'a> Stamp<'a> {
    /// A stamp for a new message with its body in base64.
    #[must_use]
    pub fn new(delivery_tag: &'a str) -> Self {
        Self { delivery_tag, body_encoding: BodyEncoding::Base64, redelivered: false }
    }

    /// Sets how the body is written.
    #[must_use]
    pub fn body_encoding(mut self, encoding: BodyEncoding) -> Self {
        self.body_encoding = encoding;
        self
    }

    /// Sets whether the message was delivered before.
    #[must_use]
    pub fn redelivered(mut self, redelivered: bool) -> Self {
        self.redelivered = redelivered;
        self
    }
}

/// What an envelope holds.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// The message. Properties that AMQP does not have are in its `extra`.
    pub message: Message,
    /// The exchange that it was published to; empty if the envelope does not say.
    pub exchange: String,
    /// The routing key that it was published with; empty if the envelope does not say.
    pub routing_key: String,
    /// The publisher's name for the message, unless a foreign one left it out.
    pub delivery_tag: Option<String>,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

impl Envelope {
    /// The message as it was published.
    #[must_use]
    pub fn into_publish(self) -> Publish {
        Publish::new(self.exchange, self.routing_key, self.message)
    }
}

/// The largest priority; larger ones are taken for it.
pub const MAX_PRIORITY: u8 = 9;
