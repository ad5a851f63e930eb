//! Frames of Pyro4's protocol 48 (`Pyro4/message.py`): a header of 24 bytes, annotations, data.
//!
//! | at | bytes | holds |
//! |---|---|---|
//! | 0 | 4 | `PYRO` |
//! | 4 | 2 | the protocol's version, 48 |
//! | 6 | 2 | the type |
//! | 8 | 2 | flags |
//! | 10 | 2 | a number, which an answer repeats |
//! | 12 | 4 | the length of the data, signed |
//! | 16 | 2 | the serializer of the data |
//! | 18 | 2 | the length of all annotations |
//! | 20 | 2 | nothing |
//! | 22 | 2 | a sum over the fields |
//!
//! An annotation is four letters, a length of two bytes and so many bytes. Numbers are big-endian.

use std::collections::BTreeMap;
use std::io::Read as _;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::read::ZlibDecoder;
use kombu_core::{Error, ErrorKind, Result, Scope};

use crate::mac::{self, Key};

/// What a frame is, as its type has it.
pub(crate) const CONNECT: u16 = 1;
pub(crate) const CONNECT_OK: u16 = 2;
pub(crate) const CONNECT_FAIL: u16 = 3;
pub(crate) const INVOKE: u16 = 4;
pub(crate) const RESULT: u16 = 5;
pub(crate) const PING: u16 = 6;

/// The answer is an exception.
pub(crate) const EXCEPTION: u16 = 1;
/// The data is a zlib stream.
pub(crate) const COMPRESSED: u16 = 2;
/// The answer to a greeting is to list the object's methods.
pub(crate) const META: u16 = 16;

/// The serializers by their numbers; this side writes JSON.
pub(crate) const JSON: u16 = 2;
pub(crate) const MARSHAL: u16 = 3;

/// What was received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) number: u16,
    pub(crate) serializer: u16,
    pub(crate) data: Bytes,
}

/// Writes a frame with data in JSON. The data has at most [`LARGEST`] bytes.
pub(crate) fn encode(kind: u16, flags: u16, number: u16, data: &[u8], key: Option<&Key>) -> Bytes {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let annotations: u16 = if key.is_some() { SIGNED } else { 0 };
    let mut out = BytesMut::with_capacity(HEADER + usize::from(annotations) + data.len());
    out.put_slice(MAGIC);
    out.put_u16(VERSION);
    out.put_u16(kind);
    out.put_u16(flags);
    out.put_u16(number);
    out.put_u32(length);
    out.put_u16(JSON);
    out.put_u16(annotations);
    out.put_u16(0);
    out.put_u16(sum(&[kind, flags, number, JSON, annotations], length));
    if let Some(key) = key {
        out.put_slice(HMAC);
        out.put_u16(SIGNED - 6);
        out.put_slice(&key.sign(data));
    }
    out.put_slice(data);
    out.freeze()
}

/// Reads frames out of what was received.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    /// The most bytes of data, decompressed too.
    pub(crate) limit: usize,
    pub(crate) key: Option<Key>,
}

impl Decoder {
    /// The next frame, once all of it is there. Whatever a header claims, nothing is reserved for
    /// it: the buffer grows with what comes.
    ///
    /// # Errors
    ///
    /// `Protocol` for what is no frame of this protocol or too large, `AccessRefused` for a frame
    /// that is not signed with the key.
    pub(crate) fn decode(&self, buffer: &mut BytesMut) -> Result<Option<Frame>> {
        let start = buffer.len().min(MAGIC.len());
        if buffer[..start] != MAGIC[..start] {
            return Err(wrong("the other side does not speak Pyro's protocol"));
        }
        let Some(mut header) = buffer.get(MAGIC.len()..HEADER) else { return Ok(None) };
        let version = header.get_u16();
        if version != VERSION {
            return Err(wrong(format!(
                "the other side speaks version {version} of the protocol, and this one Pyro4's, {VERSION}; Kombu uses \
                 Pyro4, not Pyro5"
            )));
        }
        let [kind, flags, number] = [header.get_u16(), header.get_u16(), header.get_u16()];
        let length = header.get_u32();
        let [serializer, annotations, _] = [header.get_u16(), header.get_u16(), header.get_u16()];
        if header.get_u16() != sum(&[kind, flags, number, serializer, annotations], length) {
            return Err(wrong("the header of a frame is damaged: its sum is wrong"));
        }
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > self.limit || size > LARGEST {
            return Err(wrong(format!(
                "a frame has {size} bytes, and option max_message_size allows {}",
                self.limit.min(LARGEST)
            )));
        }
        let whole = HEADER + usize::from(annotations) + size;
        if buffer.len() < whole {
            return Ok(None);
        }
        let mut frame = buffer.split_to(whole);
        frame.advance(HEADER);
        let annotations = frame.split_to(annotations.into());
        let data = frame.freeze();
        self.check(&annotations, &data)?;
        let data = if flags & COMPRESSED == 0 { data } else { self.inflate(&data)? };
        Ok(Some(Frame { kind, flags, number, serializer, data }))
    }

    /// Checks the HMAC: there must be one if there is a key, and none if there is none.
    fn check(&self, annotations: &[u8], data: &[u8]) -> Result<()> {
        let mut values = read_annotations(annotations)?;
        match (values.remove(HMAC.as_slice()), &self.key) {
            (None, None) => Ok(()),
            (Some(code), Some(key)) if key.verify(data, values.into_values(), code) => Ok(()),
            (Some(_), Some(_)) => Err(refused("the other side has another HMAC key")),
            (None, Some(_)) => {
                Err(refused("option hmac_key is set, and the other side does not sign its frames"))
            }
            (Some(_), None) => {
                Err(refused("the other side signs its frames: option hmac_key must be its key"))
            }
        }
    }

    fn inflate(&self, data: &[u8]) -> Result<Bytes> {
        let mut out = Vec::new();
        let most = u64::try_from(self.limit).unwrap_or(u64::MAX);
        let read = ZlibDecoder::new(data).take(most.saturating_add(1)).read_to_end(&mut out);
        read.map_err(|error| wrong("the data of a frame is no zlib stream").caused_by(error))?;
        if out.len() > self.limit {
            return Err(wrong(format!(
                "a frame decompresses to more than the {} bytes of option max_message_size",
                self.limit
            )));
        }
        Ok(out.into())
    }
}

/// The values of annotations by name, in the order of names.
fn read_annotations(mut rest: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>> {
    let mut values = BTreeMap::new();
    while !rest.is_empty() {
        let split = rest.split_at_checked(4).and_then(|(name, mut after)| {
            let length = after.try_get_u16().ok()?;
            let (value, after) = after.split_at_checked(length.into())?;
            Some((name, value, after))
        });
        let Some((name, value, after)) = split else {
            return Err(wrong("the annotations of a frame are damaged: one ends too late"));
        };
        values.insert(name, value);
        rest = after;
    }
    Ok(values)
}

fn sum(fields: &[u16], length: u32) -> u16 {
    let low = u16::try_from(length & 0xffff).unwrap_or_default();
    fields
        .iter()
        .fold(SEED.wrapping_add(VERSION).wrapping_add(low), |sum, field| sum.wrapping_add(*field))
}

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection)
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::AccessRefused, message).scoped(Scope::Connection)
}

const MAGIC: &[u8; 4] = b"PYRO";
const VERSION: u16 = 48;
const HMAC: &[u8; 4] = b"HMAC";
/// What every sum begins with.
const SEED: u16 = 0x34E9;
/// The bytes of a header.
pub(crate) const HEADER: usize = 24;
/// The bytes of the annotation of a signed frame.
const SIGNED: u16 = 6 + 20;
const _: () = assert!(SIGNED as usize == 6 + mac::LENGTH);
/// The most bytes of data that a header can tell of.
pub(crate) const LARGEST: usize = 0x7fff_ffff;

#[cfg(test)]
mod tests {
    use kombu_core::Secret;
    use proptest::prelude::*;

    use super::*;

    fn decoder(key: Option<&Key>) -> Decoder {
        Decoder { limit: 1 << 20, key: key.cloned() }
    }

    fn key(text: &str) -> Key {
        Key::new(&Secret::new(text)).unwrap()
    }

    /// What Pyro4 4.82 sends first, but with JSON.
    #[test]
    fn a_greeting_is_that_of_pyro() {
        let data = br#"{"handshake": "hello", "object": "Pyro.NameServer"}"#;
        let frame = encode(CONNECT, META, 0, data, None);
        let header = [
            0x50, 0x59, 0x52, 0x4f, 0, 0x30, 0, 1, 0, 0x10, 0, 0, 0, 0, 0, 0x33, 0, 2, 0, 0, 0, 0,
            0x35, 0x5f,
        ];
        assert_eq!(&frame[..HEADER], header);
        assert_eq!(&frame[HEADER..], data);
    }

    /// The code that Python's `hmac` has for it.
    #[test]
    fn a_signature_is_that_of_pyro() {
        let code: [u8; 20] = key("secret").sign(b"[1, 2]");
        let hex: String = code.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0dd8b1cd63a05181aed1c16e756894af388df8e2");
    }

    #[test]
    fn keys_must_agree() {
        let (one, two) = (key("one"), key("two"));
        for (theirs, ours, says) in [
            (Some(&one), Some(&two), "another HMAC key"),
            (Some(&one), None, "signs its frames"),
            (None, Some(&two), "does not sign"),
        ] {
            let mut buffer = BytesMut::from(&encode(RESULT, 0, 1, b"1", theirs)[..]);
            let error = decoder(ours).decode(&mut buffer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AccessRefused);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(!format!("{one:?}").contains("one"));
    }

    #[test]
    fn other_annotations_are_signed_too() {
        let key = key("k");
        let mut mac = Vec::new();
        for name in [*b"CORR", *b"AAAA"] {
            mac.extend_from_slice(&name);
            mac.extend_from_slice(&[0, 1, name[0]]);
        }
        let code: [u8; 20] = {
            let mut signed = b"1".to_vec();
            signed.extend_from_slice(b"AC");
            key.sign(&signed)
        };
        mac.extend_from_slice(b"HMAC\0\x14");
        mac.extend_from_slice(&code);
        let length = u16::try_from(mac.len()).unwrap();
        let mut out = BytesMut::from(&encode(RESULT, 0, 1, b"1", None)[..HEADER - 6]);
        out.put_u16(length);
        out.put_u16(0);
        out.put_u16(sum(&[RESULT, 0, 1, JSON, length], 1));
        out.put_slice(&mac);
        out.put_slice(b"1");
        let frame = decoder(Some(&key)).decode(&mut out).unwrap().unwrap();
        assert_eq!(frame.data, "1");
    }

    #[test]
    fn hostile_frames_are_refused_by_their_header() {
        let huge = {
            let mut out = BytesMut::from(&encode(RESULT, 0, 0, b"", None)[..12]);
            out.put_u32(0x7000_0000);
            out.put_slice(&[0, 2, 0, 0, 0, 0]);
            out.put_u16(sum(&[RESULT, 0, 0, JSON, 0], 0x7000_0000));
            out
        };
        let pyro5 = BytesMut::from(&b"PYRO\x01\xf6aaaaaaaaaaaaaaaaaaaaaaaa"[..]);
        let mut damaged = BytesMut::from(&encode(RESULT, 0, 0, b"1", None)[..]);
        damaged[9] ^= 1;
        for (mut buffer, says) in [
            (huge, "max_message_size"),
            (pyro5, "Pyro5"),
            (damaged, "sum is wrong"),
            (BytesMut::from("HTTP/1.1 200"), "does not speak"),
            (BytesMut::from("PX"), "does not speak"),
        ] {
            let error = decoder(None).decode(&mut buffer).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn compressed_data_is_bounded() {
        use std::io::Write as _;
        let pack = |size: usize| {
            let mut encoder =
                flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&vec![b'7'; size]).unwrap();
            let packed = encoder.finish().unwrap();
            BytesMut::from(&encode(RESULT, COMPRESSED, 0, &packed, None)[..])
        };
        let frame = decoder(None).decode(&mut pack(1 << 20)).unwrap().unwrap();
        assert_eq!(frame.data.len(), 1 << 20);
        assert!(decoder(None).decode(&mut pack((1 << 20) + 1)).is_err());
        let mut rubbish = BytesMut::from(&encode(RESULT, COMPRESSED, 0, b"rubbish", None)[..]);
        assert!(decoder(None).decode(&mut rubbish).is_err());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in prop::collection::vec(
                (1..=6_u16, any::<u16>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..300)),
                0..6,
            ),
            cut in 1..200_usize,
            secret in "[a-z]{0,5}",
        ) {
            let key = Key::new(&Secret::new(secret));
            let mut wire = Vec::new();
            for (kind, flags, number, data) in &frames {
                let flags = flags & !COMPRESSED;
                wire.extend_from_slice(&encode(*kind, flags, *number, data, key.as_ref()));
            }
            let decoder = decoder(key.as_ref());
            let (mut buffer, mut came) = (BytesMut::new(), Vec::new());
            for part in wire.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                    came.push(frame);
                }
            }
            prop_assert!(buffer.is_empty());
            prop_assert_eq!(came.len(), frames.len());
            for (frame, (kind, flags, number, data)) in came.iter().zip(&frames) {
                prop_assert_eq!(frame.kind, *kind);
                prop_assert_eq!(frame.flags, flags & !COMPRESSED);
                prop_assert_eq!(frame.number, *number);
                prop_assert_eq!(&frame.data[..], &data[..]);
            }
        }

        #[test]
        fn rubbish_is_refused_or_waited_for_and_never_a_panic(
            rubbish in prop::collection::vec(any::<u8>(), 0..200),
            real_start in 0..40_usize,
        ) {
            let mut buffer = BytesMut::from(&encode(RESULT, 0, 1, b"[1, 2, 3]", None)[..]);
            buffer.truncate(real_start);
            buffer.extend_from_slice(&rubbish);
            let decoder = decoder(None);
            for _ in 0..5 {
                if !matches!(decoder.decode(&mut buffer), Ok(Some(_))) {
                    break;
                }
            }
        }

        #[test]
        fn one_wrong_bit_is_noticed_in_signed_frames(
            at in 0..(HEADER + 26 + 6), bit in 0..8_u8,
        ) {
            let key = key("k");
            let mut buffer = BytesMut::from(&encode(RESULT, 0, 1, b"[1, 2]", Some(&key))[..]);
            buffer[at] ^= 1 << bit;
            let decoder = decoder(Some(&key));
            // A length that grew is waited for; two bytes mean nothing; all else is refused.
            let seen = decoder.decode(&mut buffer);
            prop_assert!(matches!(at, 20 | 21) || !matches!(seen, Ok(Some(_))));
        }
    }
}
