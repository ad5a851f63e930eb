//! Kombu's form of a message in Redis, written and read by hand.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use uuid::Uuid;

/// Writes one for a queue, with a tag of its own.
pub(crate) fn write(queue: &str, body: &[u8]) -> String {
    format!(
        "{{\"body\": \"{}\", \"content-encoding\": \"utf-8\", \"content-type\": \"application/json\", \
         \"headers\": {{}}, \"properties\": {{\"delivery_mode\": 2, \"delivery_info\": {{\"exchange\": \"\", \
         \"routing_key\": \"{queue}\"}}, \"priority\": 0, \"body_encoding\": \"base64\", \
         \"delivery_tag\": \"{}\"}}}}",
        STANDARD.encode(body),
        Uuid::new_v4(),
    )
}

/// Reads the body and the tag.
pub(crate) fn read(envelope: &[u8]) -> Result<(Vec<u8>, String)> {
    #[derive(Deserialize)]
    struct Envelope<'text> {
        body: &'text str,
        properties: Properties<'text>,
    }
    #[derive(Deserialize)]
    struct Properties<'text> {
        delivery_tag: &'text str,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(envelope)?;
    let body = STANDARD.decode(envelope.body)?;
    Ok((body, envelope.properties.delivery_tag.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (body, tag) = read(write("q", b"{\"a\": 1}").as_bytes()).unwrap();
        assert_eq!((body.as_slice(), tag.len()), (b"{\"a\": 1}".as_slice(), 36));
    }
}
