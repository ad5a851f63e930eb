//! A message that was received, in Python's terms.

use kombu::{Delivery, Properties};
use serde_json::{Map, Value as Json, json};

use crate::failure::{Failure, Result};
use crate::notation;

/// A message that was received. Values are in the notation of [`notation`], properties have
/// Python's names.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The body, or the kind of error that decoding it gave.
    pub(crate) body: Result<Json, String>,
    pub(crate) content_type: Json,
    pub(crate) content_encoding: Json,
    pub(crate) headers: Map<String, Json>,
    pub(crate) properties: Map<String, Json>,
    pub(crate) exchange: Json,
    pub(crate) routing_key: Json,
    pub(crate) redelivered: bool,
    /// The body's bytes, decompressed.
    pub(crate) raw: Json,
}

impl Seen {
    /// A message of Rust's.
    pub(crate) fn from_rust(delivery: &Delivery) -> Self {
        let properties = delivery.properties();
        let body = delivery.decode::<kombu::Value>();
        let headers = delivery.headers().iter();
        Self {
            body: body
                .map(|value| notation::from_value(&value))
                .map_err(|error| format!("{:?}", error.kind())),
            content_type: json!(properties.content_type),
            content_encoding: json!(properties.content_encoding),
            headers: headers
                .map(|(name, value)| (name.to_owned(), notation::from_value(value)))
                .collect(),
            properties: rust_properties(properties),
            exchange: json!(delivery.exchange()),
            routing_key: json!(delivery.routing_key()),
            redelivered: delivery.is_redelivered(),
            raw: delivery.body().map_or(Json::Null, |body| notation::bytes(&body)),
        }
    }

    /// A message as the peer describes it.
    pub(crate) fn from_python(mut message: Json) -> Result<Self> {
        let body = match message.get("error") {
            Some(error) => Err(error["type"].as_str().unwrap_or("no type").to_owned()),
            None => Ok(message.get("body").cloned().ok_or_else(|| Failure::own("no body"))?),
        };
        let mut properties = object(message["properties"].take())?;
        properties.retain(|name, _| PROPERTIES.contains(&name.as_str()));
        Ok(Self {
            body,
            content_type: message["content_type"].take(),
            content_encoding: message["content_encoding"].take(),
            headers: object(message["headers"].take())?,
            properties,
            exchange: message["exchange"].take(),
            routing_key: message["routing_key"].take(),
            redelivered: message["redelivered"].as_bool().unwrap_or_default(),
            raw: message["raw"].take(),
        })
    }

    /// The body, which is a text.
    pub(crate) fn text(&self) -> Result<&str> {
        let text = self.body.as_ref().ok().and_then(Json::as_str);
        text.ok_or_else(|| Failure::own(format!("the body is no text: {self:?}")))
    }

    /// The body.
    pub(crate) fn json(&self) -> Result<&Json> {
        self.body.as_ref().map_err(|kind| Failure::new(kind, format!("no body: {self:?}")))
    }
}

fn object(json: Json) -> Result<Map<String, Json>> {
    match json {
        Json::Object(object) => Ok(object),
        other => Err(Failure::own(format!("not an object: {other}"))),
    }
}

fn rust_properties(properties: &Properties) -> Map<String, Json> {
    let values = [
        json!(properties.app_id),
        json!(properties.correlation_id),
        json!(properties.delivery_mode.number()),
        json!(properties.expiration),
        json!(properties.message_id),
        json!(properties.priority),
        json!(properties.reply_to),
        json!(properties.timestamp),
        json!(properties.kind),
        json!(properties.user_id),
    ];
    let named = PROPERTIES.iter().map(|name| (*name).to_owned()).zip(values);
    named.filter(|(_, value)| !value.is_null()).collect()
}

/// The properties that are compared, by Python's names.
const PROPERTIES: [&str; 10] = [
    "app_id",
    "correlation_id",
    "delivery_mode",
    "expiration",
    "message_id",
    "priority",
    "reply_to",
    "timestamp",
    "type",
    "user_id",
];
