//! Writes envelopes, byte for byte as Kombu does.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kombu_core::codec::json;
use kombu_core::transport::Publish;
use kombu_core::{DeliveryMode, Result, Table, Value};

use super::{BodyEncoding, MAX_PRIORITY, Stamp};

/// Writes the envelope of a message.
///
/// The text is that of Python's `json.dumps`: ASCII, a space after each comma and colon. Values
/// that JSON has no form for are tagged, as [`kombu_core::codec::json::write`] does it. Only
/// numbers with a fraction may have another text for the same value.
///
/// # Errors
///
/// `Encode` for headers that nest too deep.
pub fn encode(publish: &Publish, stamp: &Stamp<'_>) -> Result<String> {
    let body = &publish.message.body;
    let properties = &publish.message.properties;
    let mut out = String::with_capacity(384 + body.len() * 4 / 3);
    let text = match stamp.body_encoding {
        BodyEncoding::Base64 => None,
        BodyEncoding::Text => std::str::from_utf8(body).ok(),
    };
    out.push_str("{\"body\": ");
    match text {
        Some(text) => string(&mut out, text),
        None => {
            out.push('"');
            STANDARD.encode_string(body, &mut out);
            out.push('"');
        }
    }
    out.push_str(", \"content-encoding\": ");
    optional(&mut out, properties.content_encoding.as_deref());
    out.push_str(", \"content-type\": ");
    optional(&mut out, properties.content_type.as_deref());
    out.push_str(", \"headers\": ");
    table(&mut out, &properties.headers)?;
    out.push_str(", \"properties\": {");
    for (name, value) in [
        ("\"correlation_id\": ", &properties.correlation_id),
        ("\"reply_to\": ", &properties.reply_to),
        ("\"message_id\": ", &properties.message_id),
        ("\"type\": ", &properties.kind),
        ("\"user_id\": ", &properties.user_id),
        ("\"app_id\": ", &properties.app_id),
        ("\"cluster_id\": ", &properties.cluster_id),
    ] {
        if let Some(value) = value {
            out.push_str(name);
            string(&mut out, value);
            out.push_str(", ");
        }
    }
    if let Some(timestamp) = properties.timestamp {
        let _infallible = write!(out, "\"timestamp\": {timestamp}, ");
    }
    for (name, value) in properties.extra.iter() {
        string(&mut out, name);
        out.push_str(": ");
        self::value(&mut out, value)?;
        out.push_str(", ");
    }
    out.push_str(match properties.delivery_mode {
        DeliveryMode::Transient => "\"delivery_mode\": 1, ",
        DeliveryMode::Persistent => "\"delivery_mode\": 2, ",
    });
    if let Some(expiration) = &properties.expiration {
        out.push_str("\"expiration\": ");
        string(&mut out, expiration);
        out.push_str(", ");
    }
    out.push_str("\"delivery_info\": {\"exchange\": ");
    string(&mut out, &publish.exchange);
    out.push_str(", \"routing_key\": ");
    string(&mut out, &publish.routing_key);
    let priority = properties.priority.min(MAX_PRIORITY);
    out.push_str("}, \"priority\": ");
    out.push(char::from(b'0' + priority));
    out.push_str(match text {
        None => ", \"body_encoding\": \"base64\"",
        Some(_) => ", \"body_encoding\": null",
    });
    out.push_str(", \"delivery_tag\": ");
    string(&mut out, stamp.delivery_tag);
    out.push('}');
    if stamp.redelivered {
        out.push_str(", \"redelivered\": true");
    }
    out.push('}');
    Ok(out)
}

fn optional(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => string(out, text),
        None => out.push_str("null"),
    }
}

fn table(out: &mut String, table: &Table) -> Result<()> {
    if table.is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    respell(out, &json::write(table)?);
    Ok(())
}

fn value(out: &mut String, value: &Value) -> Result<()> {
    respell(out, &json::write(value)?);
    Ok(())
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push_str(text);
    } else {
        for letter in text.chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                ' '..='~' => out.push(letter),
                _ => escape(out, letter),
            }
        }
    }
    out.push('"');
}

fn escape(out: &mut String, letter: char) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        let _infallible = write!(out, "\\u{unit:04x}");
    }
}

/// Writes compact JSON anew in Python's spelling.
fn respell(out: &mut String, compact: &[u8]) {
    let mut in_string = false;
    let mut escaped = false;
    for letter in String::from_utf8_lossy(compact).chars() {
        match letter {
            '"' if !escaped => in_string = !in_string,
            ',' if !in_string => {
                out.push_str(", ");
                continue;
            }
            ':' if !in_string => {
                out.push_str(": ");
                continue;
            }
            _ => {}
        }
        escaped = in_string && letter == '\\' && !escaped;
        match letter {
            '\0'..='~' => out.push(letter),
            _ => escape(out, letter),
        }
    }
}
