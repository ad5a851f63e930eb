//! Answering a request.

use serde::Serialize;

use super::{Producer, Publication};
use crate::codec::{Codec as _, Codecs, Raw, Text};
use crate::consumer::Delivery;
use crate::error::{Error, ErrorKind};

impl Producer {
    /// Starts the answer to a request: it goes to the queue in the request's `reply_to`, with its
    /// `correlation_id`, through this producer's exchange. Unless the producer has a serializer, the
    /// answer is in the codec of the request; requests of plain text or bytes say nothing about
    /// that, and are answered by Kombu's rule for publications.
    ///
    /// A queue that is gone means that nobody waits any more: the broker drops the answer, and that
    /// is no error unless the publication is `mandatory`.
    ///
    /// Awaiting it fails with `InvalidArgument` for a request without `reply_to`.
    ///
    /// # Kombu
    ///
    /// `kombu.common.send_reply`, whose `exchange` is that of the producer.
    pub fn reply<T: Serialize + ?Sized>(&self, request: &Delivery, body: &T) -> Publication {
        let Some(reply_to) = request.properties().reply_to.clone() else {
            return Publication::encoded(self.clone(), Err(nowhere(request)));
        };
        let codecs = &self.channel.shared().settings.bodies.codecs;
        let serializer = self.defaults.serializer.as_deref().or_else(|| codec_of(request, codecs));
        let encoded = codecs.encode(serializer, body);
        let correlation_id = request.properties().correlation_id.clone();
        Publication::encoded(self.clone(), encoded)
            .routing_key(reply_to)
            .with_properties(|properties| properties.correlation_id = correlation_id)
    }
}

/// The codec of a request's body, if it has structure.
fn codec_of<'all>(request: &Delivery, codecs: &'all Codecs) -> Option<&'all str> {
    let codec = codecs.find(request.properties().content_type.as_deref()?)?;
    Some(codec.name()).filter(|name| *name != Text.name() && *name != Raw.name())
}

fn nowhere(request: &Delivery) -> Error {
    Error::new(ErrorKind::InvalidArgument, "the request has no reply_to")
        .during("reply")
        .with("queue", request.queue())
}
