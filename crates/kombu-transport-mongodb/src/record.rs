//! Messages as documents.

use std::sync::Arc;

use bytes::Bytes;
use kombu_core::{Message, Properties, Result};
use kombu_virtual::envelope::{self, BodyEncoding, MAX_PRIORITY, Stamp};
use kombu_virtual::{Claimed, Put};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Bson, DateTime, Document, RawBson, RawDocument, RawDocumentBuf, doc, rawdoc};

use crate::fanout::Letter;
use crate::settle::Receipt;

/// A message for one queue.
pub(crate) fn message(
    id: ObjectId,
    put: &Put,
    queue: &str,
    expires: Expiry,
    encoding: BodyEncoding,
) -> Result<RawDocumentBuf> {
    let priority = put.publish.message.properties.priority.min(MAX_PRIORITY);
    let mut document = rawdoc! {
        "_id": id,
        "payload": payload(put, encoding)?,
        "queue": queue,
        // Ascending is what the index is, and how Kombu reads.
        "priority": i32::from(MAX_PRIORITY - priority),
    };
    match expires {
        Expiry::Never => {}
        Expiry::NeverSaid => document.append(cstr!("expire_at"), RawBson::Null),
        Expiry::At(time) => document.append(cstr!("expire_at"), time),
    }
    Ok(document)
}

/// A message for all queues of a fanout exchange.
pub(crate) fn broadcast(
    id: ObjectId,
    put: &Put,
    exchange: &str,
    encoding: BodyEncoding,
) -> Result<RawDocumentBuf> {
    Ok(rawdoc! { "_id": id, "payload": payload(put, encoding)?, "queue": exchange })
}

/// When a message expires, as its document says it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    Never,
    /// Never, in a field of its own, as Kombu writes it with `ttl`.
    NeverSaid,
    At(DateTime),
}

fn payload(put: &Put, encoding: BodyEncoding) -> Result<String> {
    let tag = envelope::new_tag();
    envelope::encode(&put.publish, &Stamp::new(&tag).body_encoding(encoding))
}

/// The id of a document, whatever its type.
pub(crate) fn id(document: &RawDocument) -> Option<Bson> {
    document.get("_id").ok()??.try_into().ok()
}

/// Whether the document's time was over before some time.
pub(crate) fn is_expired(document: &RawDocument, now: DateTime) -> bool {
    document.get_datetime("expire_at").is_ok_and(|time| time <= now)
}

/// How often the message was delivered before.
pub(crate) fn deliveries(document: &RawDocument) -> u32 {
    document.get_i32("deliveries").ok().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// Reads a message that was taken. What is none is handed on as it is, with the reason.
pub(crate) fn read(queue: &Arc<str>, receipt: Receipt, document: &RawDocument) -> Claimed<Receipt> {
    let deliveries = deliveries(document);
    match document.get_str("payload") {
        Ok(payload) => read_payload(queue, receipt, payload.as_bytes(), deliveries),
        Err(_) => {
            let body = Bytes::copy_from_slice(document.as_bytes());
            let message = Message::new(body, Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), Some(receipt), message);
            claimed.broken = Some("the document has no text \"payload\"".to_owned());
            claimed
        }
    }
}

/// Reads a message of a fanout exchange.
pub(crate) fn read_letter(queue: &Arc<str>, receipt: Receipt, letter: &Letter) -> Claimed<Receipt> {
    read_payload(queue, receipt, &letter.payload, letter.deliveries)
}

fn read_payload(
    queue: &Arc<str>,
    receipt: Receipt,
    payload: &[u8],
    deliveries: u32,
) -> Claimed<Receipt> {
    let mut claimed = match envelope::decode(payload) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), Some(receipt), envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered;
            claimed
        }
        Err(error) => {
            let message = Message::new(Bytes::copy_from_slice(payload), Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), Some(receipt), message);
            claimed.broken = Some(error.to_string());
            claimed
        }
    };
    claimed.redelivered |= deliveries > 0;
    claimed.delivery_count = Some(deliveries);
    claimed
}

/// A payload marked as delivered before, if it is one and has no mark yet.
pub(crate) fn marked(payload: &str) -> Option<String> {
    let envelope = envelope::decode(payload.as_bytes()).ok().filter(|read| !read.redelivered)?;
    let tag = envelope::new_tag();
    let stamp = Stamp::new(&tag).redelivered(true);
    envelope::encode(&envelope.into_publish(), &stamp).ok()
}

/// What finds documents that were taken, by something in their claims.
///
/// They are in no queue, and there is an index for the time.
pub(crate) fn held(claim: Document) -> Document {
    let mut filter = doc! { "queue": Bson::Null, "claim.until": { "$gt": DateTime::MIN } };
    filter.extend(claim);
    filter
}

/// What is set in a document to take it: it is in no queue that anyone else asks for.
pub(crate) fn claim(queue: &str, owner: ObjectId, token: ObjectId, until: DateTime) -> Document {
    doc! { "$set": {
        "queue": Bson::Null,
        "claim": { "queue": queue, "owner": owner, "token": token, "until": until },
    } }
}
