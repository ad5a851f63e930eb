//! A delivery as one line of JSON.

use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kombu::codec::json;
use kombu::{Delivery, Error, Properties, Table, Value};
use serde::Serialize;

/// The line of a delivery, with its line end. Values that JSON has no form for are Kombu's tagged
/// objects. A body that cannot be read, or written, has `error` and `raw` instead of `body`.
pub(crate) fn json_line(delivery: &Delivery) -> Result<Vec<u8>, Error> {
    let mut body = delivery.decode::<Value>().map(readable);
    let mut headers = delivery.headers().clone();
    if let Err(error) = json::write(&headers) {
        // Some legal values have no form: a point in time in the year 20000.
        headers = headers.into_iter().filter(|(_, value)| json::write(value).is_ok()).collect();
        body = Err(error.during("write headers"));
    }
    let mut line = Line {
        body: None,
        error: None,
        raw: None,
        content_type: delivery.properties().content_type.as_deref(),
        content_encoding: delivery.properties().content_encoding.as_deref(),
        headers: &headers,
        properties: properties(delivery.properties()),
        exchange: delivery.exchange(),
        routing_key: delivery.routing_key(),
        queue: delivery.queue(),
        redelivered: delivery.is_redelivered(),
        delivery_tag: delivery.tag().0,
    };
    let error = match body {
        Err(error) => error,
        Ok(body) => {
            line.body = Some(body);
            match json::write(&line) {
                Ok(text) => return Ok(ended(text)),
                Err(error) => error,
            }
        }
    };
    line.body = None;
    line.error = Some(error.to_string());
    line.raw = Some(STANDARD.encode(&delivery.message().body));
    json::write(&line).map(ended)
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
    content_type: Option<&'a str>,
    content_encoding: Option<&'a str>,
    headers: &'a Table,
    properties: Table,
    exchange: &'a str,
    routing_key: &'a str,
    queue: &'a str,
    redelivered: bool,
    delivery_tag: u64,
}

/// Raw bytes that are a text are shown as one; others keep Kombu's tag.
fn readable(body: Value) -> Value {
    match &body {
        Value::Bytes(bytes) => str::from_utf8(bytes).map(Value::from).unwrap_or(body),
        _ => body,
    }
}

/// The properties that have no place of their own in the line; those that are not set are left
/// out. Mode and priority always have a value.
fn properties(properties: &Properties) -> Table {
    let mut table = properties.extra.clone();
    table.insert("delivery_mode", properties.delivery_mode.number());
    table.insert("priority", properties.priority);
    for (name, text) in [
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
        ("cluster_id", &properties.cluster_id),
    ] {
        if let Some(text) = text {
            table.insert(name, text);
        }
    }
    if let Some(seconds) = properties.timestamp {
        table.insert("timestamp", seconds);
    }
    table
}

fn ended(mut text: Vec<u8>) -> Vec<u8> {
    text.push(b'\n');
    text
}
