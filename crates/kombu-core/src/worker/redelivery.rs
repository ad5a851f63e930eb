//! Messages that are published anew: to be tried again, or as dead letters.

use std::time::Duration;

use crate::consumer::Delivery;
use crate::entity::Queue;
use crate::error::Result;
use crate::message::Message;
use crate::producer::{Producer, Publication};
use crate::value::{Table, Value};

/// The header with the number of attempts that failed.
pub const ATTEMPTS_HEADER: &str = "x-kombu-attempts";
/// The header with the exchange that a message was published to at first.
pub const EXCHANGE_HEADER: &str = "x-kombu-exchange";
/// The header with the routing key that it was published with at first.
pub const ROUTING_KEY_HEADER: &str = "x-kombu-routing-key";
/// The header of a dead letter that says why the message was given up.
pub const ERROR_HEADER: &str = "x-kombu-error";

/// How many attempts failed before.
pub(super) fn attempts(headers: &Table) -> u32 {
    let count = headers.get(ATTEMPTS_HEADER).and_then(Value::as_i64).unwrap_or_default();
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

/// Publishes a message to its queue, to be tried again.
pub(super) async fn again(producer: &Producer, delivery: &Delivery, mandatory: bool) -> Result<()> {
    copy(producer, delivery).to("", delivery.queue()).mandatory(mandatory).await
}

/// Publishes a message to its queue, to be tried again later.
pub(super) async fn later(producer: &Producer, delivery: &Delivery, wait: Duration) -> Result<()> {
    copy(producer, delivery).to("", delivery.queue()).mandatory(false).delay(wait).await
}

/// Publishes a message to a queue of those that were given up.
pub(super) async fn dead_letter(
    producer: &Producer,
    delivery: &Delivery,
    queue: &Queue,
    reason: &str,
) -> Result<()> {
    // Brokers bound the size of headers.
    let reason: String = reason.chars().take(LONGEST_REASON).collect();
    copy(producer, delivery).header(ERROR_HEADER, reason).to_queue(queue).await
}

/// A copy of a message, with what is known of its past in its headers, the failed attempt included.
fn copy(producer: &Producer, delivery: &Delivery) -> Publication {
    let attempts = attempts(delivery.headers()).saturating_add(1);
    let mut message: Message = delivery.message().clone();
    let properties = &mut message.properties;
    // The user who published it first is another one, which brokers would refuse.
    properties.user_id = None;
    let headers = &mut properties.headers;
    headers.insert(ATTEMPTS_HEADER, i64::from(attempts));
    if !headers.contains(EXCHANGE_HEADER) {
        headers.insert(EXCHANGE_HEADER, delivery.exchange());
        headers.insert(ROUTING_KEY_HEADER, delivery.routing_key());
    }
    producer.publish_message(message)
}

const LONGEST_REASON: usize = 1000;
