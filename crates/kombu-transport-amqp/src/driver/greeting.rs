//! What an AMQP broker says first: the method `connection.start`.

use bytes::Bytes;
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result, Scope};
use lapin::types::parsing::{parse_field_table, parse_long_string};
use lapin::types::{AMQPValue, FieldTable};

/// What a client says before anything else (AMQP 0-9-1 section 4.2.2).
pub(crate) const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The first frame of a broker.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// The frame as it came, for the driver.
    pub(crate) frame: Bytes,
    pub(crate) server: ServerInfo,
    mechanisms: String,
    nack: bool,
}

impl Greeting {
    /// Reads it from what came so far; `None` if more must come.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first != FRAME_METHOD {
            return if bytes.len() < 8 { Ok(None) } else { Err(not_amqp(bytes)) };
        }
        let Some((header, rest)) = bytes.split_first_chunk::<7>() else {
            return Ok(None);
        };
        let [_, _, _, size @ ..] = *header;
        let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
        if size > MAX_SIZE {
            return Err(not_amqp(bytes));
        }
        let (Some(payload), Some(&end)) = (rest.get(..size), rest.get(size)) else {
            return Ok(None);
        };
        if end != FRAME_END || bytes.len() > size + 8 {
            return Err(not_amqp(bytes));
        }
        Self::from_payload(payload, Bytes::copy_from_slice(bytes))
            .map(Some)
            .ok_or_else(|| not_amqp(bytes))
    }

    /// The error for a broker that hung up during its greeting.
    pub(crate) fn cut_short(bytes: &[u8]) -> Error {
        if bytes.is_empty() {
            Error::lost(
                "the peer closed the connection without a greeting; is this an AMQP port, and \
                 does it want TLS?",
            )
        } else {
            not_amqp(bytes)
        }
    }

    /// Refuses a login method that the broker does not offer.
    pub(crate) fn check_mechanism(&self, name: &str) -> Result<()> {
        if self.mechanisms.split(' ').any(|offered| offered == name) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::AccessRefused,
            format!("the broker does not offer the login method {name}, only {}", self.mechanisms),
        )
        .scoped(Scope::Connection))
    }

    /// Whether the broker knows `basic.nack`.
    pub(crate) fn has_nack(&self) -> bool {
        self.nack
    }

    fn from_payload(payload: &[u8], frame: Bytes) -> Option<Self> {
        let rest = payload.strip_prefix(CONNECTION_START)?;
        let (_version, rest) = rest.split_first_chunk::<2>()?;
        let (rest, properties) = parse_field_table(rest).ok()?;
        let (_, mechanisms) = parse_long_string(rest).ok()?;
        let text = |name| match properties.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => String::new(),
        };
        Some(Self {
            frame,
            server: ServerInfo::new(text("product"), text("version")),
            mechanisms: mechanisms.to_string(),
            nack: capability(&properties, "basic.nack"),
        })
    }
}

fn capability(properties: &FieldTable, name: &str) -> bool {
    let Some(AMQPValue::FieldTable(capabilities)) = properties.inner().get("capabilities") else {
        return false;
    };
    capabilities.inner().get(name) == Some(&AMQPValue::Boolean(true))
}

fn not_amqp(bytes: &[u8]) -> Error {
    let shown = bytes.get(..32.min(bytes.len())).unwrap_or_default().escape_ascii();
    let message = match bytes {
        [TLS_ALERT, 3, ..] => {
            "the peer answers with TLS; use amqps:// or the broker's plain port".to_owned()
        }
        [b'A', b'M', b'Q', b'P', _, major, minor, revision, ..] => {
            format!("the peer does not speak AMQP 0-9-1 but offers {major}.{minor}.{revision}")
        }
        _ => format!("the peer does not speak AMQP 0-9-1; it answers \"{shown}\""),
    };
    Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection)
}

const FRAME_METHOD: u8 = 1;
const FRAME_END: u8 = 0xCE;
const TLS_ALERT: u8 = 0x15;
/// Class 10, method 10.
const CONNECTION_START: &[u8] = &[0, 10, 0, 10];
/// More than any broker says of itself.
const MAX_SIZE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Vec<u8> {
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        let mut table = b"\x07productS\x00\x00\x00\x08RabbitMQ".to_vec();
        table.extend(b"\x0ccapabilitiesF\x00\x00\x00\x0d\x0abasic.nackt\x01");
        payload.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
        payload.extend(table);
        payload.extend(b"\x00\x00\x00\x0ePLAIN AMQPLAIN\x00\x00\x00\x05en_US");
        let mut frame = vec![1, 0, 0];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame.push(0xCE);
        frame
    }

    #[test]
    fn a_greeting_is_read_once_it_is_whole() {
        let whole = start();
        for cut in 0..whole.len() {
            assert!(Greeting::parse(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let greeting = Greeting::parse(&whole).unwrap().unwrap();
        assert_eq!(greeting.server.product, "RabbitMQ");
        assert_eq!(greeting.server.version, "");
        assert!(greeting.has_nack());
        greeting.check_mechanism("PLAIN").unwrap();
        let refused = greeting.check_mechanism("EXTERNAL").unwrap_err();
        assert!(refused.to_string().contains("EXTERNAL, only PLAIN AMQPLAIN"), "{refused}");
    }

    #[test]
    fn what_is_not_amqp_is_named() {
        for (bytes, says) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "answers \"HTTP/1.1 400 Bad Request"),
            (b"\x15\x03\x01\x00\x02\x02\x46\x00", "use amqps://"),
            (b"AMQP\x03\x01\x00\x00", "offers 1.0.0"),
            (b"\x01\x00\x00\xff\xff\xff\xff", "does not speak AMQP"),
        ] {
            let error = Greeting::parse(bytes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = Greeting::cut_short(b"");
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }
}
