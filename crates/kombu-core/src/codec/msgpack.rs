//! MessagePack.

use rmp::Marker;
use rmp::encode::{self, ByteBuf};

use crate::codec::{Codec, Encoded, MAX_DEPTH};
use crate::error::{Error, ErrorKind, Result};
use crate::value::date::timestamp_text;
use crate::value::{Table, Tag, Value};

/// The codec `msgpack`: `application/x-msgpack`, with texts and bytes kept apart.
///
/// Null, truth values, 64-bit integers, floating point numbers, texts, bytes, lists and tables
/// have a form of their own, and a [`Value::Timestamp`] is MessagePack's timestamp extension.
/// Decimals, larger integers and [`Value::Tagged`] have none and are refused: send them as texts.
///
/// When reading, keys that are numbers, truth values or null become texts, a timestamp with
/// a fraction becomes a `datetime` in microseconds, and other extensions are refused. Nesting is
/// limited to [`MAX_DEPTH`].
///
/// # Kombu
///
/// Python's `msgpack` writes no timestamps of its own accord and reads them as its own class
/// `Timestamp`; it refuses keys that are neither text nor bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Msgpack;

impl Codec for Msgpack {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        "application/x-msgpack"
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        let mut out = ByteBuf::with_capacity(128);
        write(&mut out, value, 0)?;
        Ok(Encoded::new(out.into_vec(), "application/x-msgpack", "binary"))
    }

    /// As in Kombu the encoding is not looked at. An empty body is null.
    fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
        if body.is_empty() {
            return Ok(Value::Null);
        }
        let mut reader = Reader { body, at: 0 };
        let value = reader.value(0)?;
        match reader.at == body.len() {
            true => Ok(value),
            false => Err(reader.failed("there is more after the value")),
        }
    }
}

/// The name.
impl AsRef<str> for Msgpack {
    fn as_ref(&self) -> &str {
        "msgpack"
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value> {
        let [marker] = self.array()?;
        Ok(match Marker::from_u8(marker) {
            Marker::Null => Value::Null,
            Marker::True => Value::Bool(true),
            Marker::False => Value::Bool(false),
            Marker::FixPos(number) => Value::from(number),
            Marker::FixNeg(number) => Value::from(number),
            Marker::U8 => Value::from(u8::from_be_bytes(self.array()?)),
            Marker::U16 => Value::from(u16::from_be_bytes(self.array()?)),
            Marker::U32 => Value::from(u32::from_be_bytes(self.array()?)),
            Marker::U64 => Value::from(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Value::from(i8::from_be_bytes(self.array()?)),
            Marker::I16 => Value::from(i16::from_be_bytes(self.array()?)),
            Marker::I32 => Value::from(i32::from_be_bytes(self.array()?)),
            Marker::I64 => Value::from(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::from(f32::from_be_bytes(self.array()?)),
            Marker::F64 => Value::from(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => self.text(length.into())?,
            Marker::Str8 => self.len8().and_then(|length| self.text(length))?,
            Marker::Str16 => self.len16().and_then(|length| self.text(length))?,
            Marker::Str32 => self.len32().and_then(|length| self.text(length))?,
            Marker::Bin8 => self.len8().and_then(|length| self.bytes(length))?,
            Marker::Bin16 => self.len16().and_then(|length| self.bytes(length))?,
            Marker::Bin32 => self.len32().and_then(|length| self.bytes(length))?,
            Marker::FixArray(length) => self.list(length.into(), depth + 1)?,
            Marker::Array16 => self.len16().and_then(|length| self.list(length, depth + 1))?,
            Marker::Array32 => self.len32().and_then(|length| self.list(length, depth + 1))?,
            Marker::FixMap(length) => self.table(length.into(), depth + 1)?,
            Marker::Map16 => self.len16().and_then(|length| self.table(length, depth + 1))?,
            Marker::Map32 => self.len32().and_then(|length| self.table(length, depth + 1))?,
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => self.len8().and_then(|length| self.extension(length))?,
            Marker::Ext16 => self.len16().and_then(|length| self.extension(length))?,
            Marker::Ext32 => self.len32().and_then(|length| self.extension(length))?,
            Marker::Reserved => return Err(self.failed("the byte 0xc1 starts no value")),
        })
    }

    fn text(&mut self, length: usize) -> Result<Value> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Value::from(text)),
            Err(_) => Err(self.failed("a text is not UTF-8")),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Value> {
        Ok(Value::Bytes(self.take(length)?.to_vec().into()))
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Value> {
        self.enter(length, depth)?;
        // The length was checked against what is left, not against what an item takes here.
        let mut items = Vec::with_capacity(length.min(4096));
        for _ in 0..length {
            items.push(self.value(depth)?);
        }
        Ok(Value::List(items))
    }

    fn table(&mut self, length: usize, depth: usize) -> Result<Value> {
        self.enter(length, depth)?;
        let mut table = Table::new();
        for _ in 0..length {
            let key = self.value(depth)?;
            let key = key.into_key().ok_or_else(|| self.failed("a key of a map is not a text"))?;
            table.insert(key, self.value(depth)?);
        }
        Ok(Value::Table(table))
    }

    fn extension(&mut self, length: usize) -> Result<Value> {
        let kind = i8::from_be_bytes(self.array()?);
        if kind != TIMESTAMP {
            return Err(self
                .failed("an extension has no value here, except the timestamp")
                .with("extension", kind));
        }
        let (seconds, nanos) = match length {
            4 => (i64::from(u32::from_be_bytes(self.array()?)), 0),
            8 => {
                let both = u64::from_be_bytes(self.array()?);
                // 30 bits of nanoseconds and 34 bits of seconds.
                ((both & ((1 << 34) - 1)).cast_signed(), both >> 34)
            }
            12 => {
                let nanos = u32::from_be_bytes(self.array()?);
                (i64::from_be_bytes(self.array()?), nanos.into())
            }
            _ => return Err(self.failed("a timestamp has 4, 8 or 12 bytes")),
        };
        if nanos >= 1_000_000_000 {
            return Err(self.failed("a timestamp has a second or more of nanoseconds"));
        }
        if nanos == 0 {
            return Ok(Value::Timestamp(seconds));
        }
        let whole = timestamp_text(seconds);
        let whole = whole.as_deref().and_then(|text| text.strip_suffix("+00:00"));
        let whole =
            whole.ok_or_else(|| self.failed("a timestamp is not in the years 1 to 9999"))?;
        let micros = nanos / 1000;
        Ok(Value::Tagged(
            Tag::Datetime,
            match micros {
                0 => format!("{whole}+00:00"),
                _ => format!("{whole}.{micros:06}+00:00"),
            },
        ))
    }

    /// Checks the start of a list or map. Each entry takes a byte at least.
    fn enter(&mut self, length: usize, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.failed("lists and maps are nested too deep, more than 128 levels"));
        }
        match length > self.body.len() - self.at {
            true => Err(self.failed("the body ends too early")),
            false => Ok(()),
        }
    }

    fn len8(&mut self) -> Result<usize> {
        self.array().map(|bytes| u8::from_be_bytes(bytes).into())
    }

    fn len16(&mut self) -> Result<usize> {
        self.array().map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn len32(&mut self) -> Result<usize> {
        let length = u32::from_be_bytes(self.array()?);
        usize::try_from(length).map_err(|_| self.failed("the body ends too early"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.failed("the body ends too early"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length);
        let Some(bytes) = end.and_then(|end| self.body.get(self.at..end)) else {
            return Err(self.failed("the body ends too early"));
        };
        self.at += length;
        Ok(bytes)
    }

    fn failed(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Decode, what).with("byte", self.at)
    }
}

fn write(out: &mut ByteBuf, value: &Value, depth: usize) -> Result<()> {
    let done = match value {
        Value::Null => return encode::write_nil(out).map_err(never),
        Value::Bool(truth) => return encode::write_bool(out, *truth).map_err(never),
        Value::Int(number) => encode::write_sint(out, *number).map(|_| ()),
        Value::UInt(number) => encode::write_uint(out, *number).map(|_| ()),
        Value::Float(number) => encode::write_f64(out, *number),
        Value::Text(text) => {
            length(text.len())?;
            encode::write_str(out, text)
        }
        Value::Bytes(bytes) => {
            length(bytes.len())?;
            encode::write_bin(out, bytes)
        }
        Value::Timestamp(seconds) => return write_timestamp(out, *seconds),
        Value::List(items) => {
            enter(depth)?;
            encode::write_array_len(out, length(items.len())?).map_err(never)?;
            return items.iter().try_for_each(|item| write(out, item, depth + 1));
        }
        Value::Table(table) => {
            enter(depth)?;
            encode::write_map_len(out, length(table.len())?).map_err(never)?;
            for (name, value) in table.iter() {
                length(name.len())?;
                encode::write_str(out, name).map_err(never)?;
                write(out, value, depth + 1)?;
            }
            return Ok(());
        }
        Value::Decimal(_) => return Err(no_form("decimals and integers of more than 64 bits")),
        Value::Tagged(tag, _) => return Err(no_form(tag.name())),
    };
    done.map_err(never)
}

/// The smallest of the three forms that the format has.
fn write_timestamp(out: &mut ByteBuf, seconds: i64) -> Result<()> {
    let mut write = |bytes: &[u8]| {
        encode::write_ext_meta(out, length(bytes.len())?, TIMESTAMP).map_err(never)?;
        out.as_mut_vec().extend_from_slice(bytes);
        Ok(())
    };
    match (u32::try_from(seconds), u64::try_from(seconds)) {
        (Ok(seconds), _) => write(&seconds.to_be_bytes()),
        (_, Ok(seconds)) if seconds >> 34 == 0 => write(&seconds.to_be_bytes()),
        _ => write(&[&[0; 4], &seconds.to_be_bytes()[..]].concat()),
    }
}

fn enter(depth: usize) -> Result<()> {
    match depth < MAX_DEPTH {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Encode,
            "lists and tables are nested too deep, more than 128 levels",
        )),
    }
}

fn length(length: usize) -> Result<u32> {
    u32::try_from(length)
        .map_err(|_| Error::new(ErrorKind::Encode, "MessagePack has no lengths of 4 GiB or more"))
}

fn no_form(what: &'static str) -> Error {
    Error::new(ErrorKind::Encode, "MessagePack has no form for it; send it as a text")
        .with("kind", what)
}

/// Memory takes anything.
fn never(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Encode, "cannot write MessagePack").caused_by(error)
}

/// The type of the timestamp extension.
const TIMESTAMP: i8 = -1;
