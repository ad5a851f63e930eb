//! The writer: a serde serializer with Python's bare words, Kombu's tagged bytes and a bound on
//! nesting, none of which `serde_json` can be told.

use std::io;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::{CompactFormatter, Formatter as _};

use crate::codec::json::MAX_DEPTH;
use crate::error::{Error, ErrorKind, Result};
use crate::value::tagged::{TAGGED, serialize_bytes};

/// Writes anything as JSON that Python's Kombu reads: see [`Json`](crate::codec::Json).
///
/// # Errors
///
/// [`ErrorKind::Encode`] if a key is a list or an object, if the nesting is too deep, or if the
/// `Serialize` implementation reports an error.
///
/// ```
/// use kombu_core::codec::json::write;
/// assert_eq!(write(&[f64::NAN, 0.5])?, b"[NaN,0.5]");
/// # Ok::<(), kombu_core::Error>(())
/// ```
pub fn write<T: Serialize + ?Sized>(data: &T) -> Result<Vec<u8>> {
    let mut writer = Writer::new(false);
    data.serialize(&mut writer)?;
    Ok(writer.out)
}

/// Writes anything as JSON of the standard: NaN and the infinities are an error.
pub(super) fn write_strict<T: Serialize + ?Sized>(data: &T) -> Result<Vec<u8>> {
    let mut writer = Writer { strict: true, ..Writer::new(false) };
    data.serialize(&mut writer)?;
    Ok(writer.out)
}

/// What the outermost value is, when it is written bare.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Top {
    Bytes,
    Json,
    Tagged,
    Text,
}

pub(super) struct Writer {
    out: Vec<u8>,
    depth: usize,
    /// Whether a text or bytes at the top are written without quotes and tags.
    bare: bool,
    /// Whether numbers that JSON lacks are refused.
    strict: bool,
    top: Top,
}

impl Writer {
    /// A writer that keeps a text or bytes at the top as they are.
    pub(super) fn bare() -> Self {
        Self::new(true)
    }

    pub(super) fn finish(self) -> (Vec<u8>, Top) {
        (self.out, self.top)
    }

    fn new(bare: bool) -> Self {
        Self { out: Vec::with_capacity(128), depth: 0, bare, strict: false, top: Top::Json }
    }

    /// Writes with `serde_json`'s formatter; the `Vec` below cannot fail.
    fn format(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<()> {
        write(&mut self.out)
            .map_err(|error| Error::new(ErrorKind::Encode, "cannot write JSON").caused_by(error))
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn quoted(&mut self, text: &str) -> Result<()> {
        self.format(|out| Ok(serde_json::to_writer(out, text)?))
    }

    /// Writes `open`, after the name of an enum's variant if there is one.
    fn open(
        &mut self,
        variant: Option<&str>,
        open: &str,
        close: &'static str,
    ) -> Result<Compound<'_>> {
        self.depth += 1 + usize::from(variant.is_some());
        if self.depth > MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::Encode,
                "lists and objects are nested too deep, more than 128 levels",
            ));
        }
        if let Some(variant) = variant {
            self.push("{");
            self.quoted(variant)?;
            self.push(":");
        }
        self.push(open);
        Ok(Compound { writer: self, first: true, close })
    }
}

macro_rules! numbers {
    ($($method:ident $type:ty => $write:ident),+ $(,)?) => {$(
        fn $method(self, number: $type) -> Result<()> {
            self.format(|out| CompactFormatter.$write(out, number))
        }
    )+};
}

macro_rules! floats {
    ($($method:ident $type:ty => $write:ident),+ $(,)?) => {$(
        fn $method(self, number: $type) -> Result<()> {
            if number.is_finite() {
                return self.format(|out| CompactFormatter.$write(out, number));
            }
            if self.strict {
                return Err(Error::new(ErrorKind::Encode, "JSON has no NaN and no infinities"));
            }
            self.push(match number {
                _ if number.is_nan() => "NaN",
                _ if number > 0.0 => "Infinity",
                _ => "-Infinity",
            });
            Ok(())
        }
    )+};
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    numbers! {
        serialize_i8 i8 => write_i8, serialize_i16 i16 => write_i16,
        serialize_i32 i32 => write_i32, serialize_i64 i64 => write_i64,
        serialize_i128 i128 => write_i128,
        serialize_u8 u8 => write_u8, serialize_u16 u16 => write_u16,
        serialize_u32 u32 => write_u32, serialize_u64 u64 => write_u64,
        serialize_u128 u128 => write_u128,
    }

    floats! { serialize_f32 f32 => write_f32, serialize_f64 f64 => write_f64 }

    fn serialize_bool(self, truth: bool) -> Result<()> {
        self.push(if truth { "true" } else { "false" });
        Ok(())
    }

    fn serialize_char(self, letter: char) -> Result<()> {
        self.serialize_str(letter.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<()> {
        if self.bare && self.depth == 0 {
            self.top = Top::Text;
            self.push(text);
            return Ok(());
        }
        self.quoted(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        if self.bare && self.depth == 0 {
            self.top = Top::Bytes;
            self.out.extend_from_slice(bytes);
            return Ok(());
        }
        serialize_bytes(self, bytes)
    }

    fn serialize_none(self) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, inner: &T) -> Result<()> {
        inner.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.push("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<()> {
        self.quoted(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        inner: &T,
    ) -> Result<()> {
        inner.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        inner: &T,
    ) -> Result<()> {
        let mut object = self.open(None, "{", "}")?;
        object.entry(variant, inner)?;
        object.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>> {
        self.open(None, "[", "]")
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>> {
        self.open(None, "[", "]")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>> {
        self.open(None, "[", "]")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>> {
        self.open(Some(variant), "[", "]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>> {
        self.open(None, "{", "}")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'a>> {
        if name == TAGGED && self.depth == 0 {
            self.top = Top::Tagged;
        }
        self.open(None, "{", "}")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>> {
        self.open(Some(variant), "{", "}}")
    }
}

/// A list or an object whose end is still to come.
pub(super) struct Compound<'a> {
    writer: &'a mut Writer,
    first: bool,
    close: &'static str,
}

impl Compound<'_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.writer.push(",");
        }
    }

    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
        self.comma();
        item.serialize(&mut *self.writer)
    }

    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        self.comma();
        self.writer.quoted(name)?;
        self.writer.push(":");
        value.serialize(&mut *self.writer)
    }

    fn finish(self) -> Result<()> {
        self.writer.push(self.close);
        self.writer.depth -= self.close.len();
        Ok(())
    }
}

impl SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;

    /// Numbers, truth values and null become texts, as in Python.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.comma();
        let start = self.writer.out.len();
        key.serialize(&mut *self.writer)?;
        match self.writer.out.get(start) {
            Some(b'"') => Ok(()),
            Some(b'[' | b'{') | None => {
                Err(Error::new(ErrorKind::Encode, "a key of a map is not a text"))
            }
            Some(_) => {
                self.writer.out.insert(start, b'"');
                self.writer.out.push(b'"');
                Ok(())
            }
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.writer.push(":");
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<()> {
        self.finish()
    }
}

macro_rules! items {
    ($($trait:ident $method:ident),+) => {$(
        impl $trait for Compound<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
                self.item(item)
            }

            fn end(self) -> Result<()> {
                self.finish()
            }
        }
    )+};
}

items! {
    SerializeSeq serialize_element, SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($trait:ident),+) => {$(
        impl $trait for Compound<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<()> {
                self.entry(name, value)
            }

            fn end(self) -> Result<()> {
                self.finish()
            }
        }
    )+};
}

fields! { SerializeStruct, SerializeStructVariant }
