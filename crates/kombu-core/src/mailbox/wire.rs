//! What travels between callers and nodes.

use serde::{Deserialize, Serialize};

use crate::consumer::Delivery;
use crate::value::Value;

/// The body of a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Order {
    pub(super) method: String,
    /// A table, or null.
    #[serde(default)]
    pub(super) arguments: Value,
    /// The nodes that it is for.
    #[serde(default)]
    pub(super) destination: Option<Vec<String>>,
    #[serde(default)]
    pub(super) pattern: Option<String>,
    #[serde(default)]
    pub(super) matcher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ticket: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply_to: Option<ReplyTo>,
}

/// Where the replies go.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ReplyTo {
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

/// The header with the sender's logical time.
pub(super) const CLOCK: &str = "clock";
/// The header with the time, in seconds since 1970, until which somebody waits; 0 for nobody.
pub(super) const EXPIRES: &str = "expires";
/// The header of a reply with the ticket of its request.
pub(super) const TICKET: &str = "ticket";
/// The key of the result of a call that failed.
pub(super) const ERROR: &str = "error";

/// The sender's logical time.
pub(super) fn clock(delivery: &Delivery) -> u64 {
    let clock = delivery.headers().get(CLOCK).and_then(Value::as_i64);
    clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or_default()
}

/// A logical time as a header.
pub(super) fn clock_header(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
