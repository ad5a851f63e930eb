//! The codec interface and the set of codecs that a program uses.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Accept, Json, Raw, Text, json};
use crate::error::{Error, ErrorKind, Result};
use crate::suggest;
use crate::value::Value;

/// A way to write values as bytes and to read them (Kombu's serializer).
///
/// # Examples
///
/// ```
/// use kombu_core::codec::{Accept, Codec, Codecs, Encoded};
/// use kombu_core::{Error, ErrorKind, Result, Value};
///
/// #[derive(Debug)]
/// struct Hex;
///
/// impl Codec for Hex {
///     fn name(&self) -> &str { "hex" }
///     fn content_type(&self) -> &str { "application/x-hex" }
///     fn encode_value(&self, value: &Value) -> Result<Encoded> {
///         let number = value.as_i64().ok_or_else(|| Error::new(ErrorKind::Encode, "no integer"))?;
///         Ok(Encoded::new(format!("{number:x}"), "application/x-hex", "us-ascii"))
///     }
///     fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
///         std::str::from_utf8(body).ok().and_then(|text| i64::from_str_radix(text, 16).ok())
///             .map(Value::Int).ok_or_else(|| Error::new(ErrorKind::Decode, "no integer"))
///     }
/// }
///
/// let codecs = Codecs::default().with(Hex);
/// let encoded = codecs.encode(Some("hex"), &255)?;
/// assert_eq!(&encoded.body[..], b"ff");
/// let number: u8 = codecs.decode(
///     Some("application/x-hex"), None, &encoded.body, &Accept::default().with("hex"),
/// )?;
/// assert_eq!(number, 255);
/// # Ok::<(), Error>(())
/// ```
pub trait Codec: fmt::Debug + Send + Sync + 'static {
    /// The short name, such as `json`: what publishers choose and consumers accept.
    fn name(&self) -> &str;

    /// The MIME type that marks bodies of this codec.
    fn content_type(&self) -> &str;

    /// Writes a value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] if this codec has no form for the value.
    fn encode_value(&self, value: &Value) -> Result<Encoded>;

    /// Reads a body whose sender states `content_encoding`, in lower case; `utf-8` if it does not.
    ///
    /// It must neither panic nor use unbounded time or memory, whatever the bytes are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if the body is not what it claims to be.
    fn decode_value(&self, body: &[u8], content_encoding: &str) -> Result<Value>;
}

/// A body as it travels, before compression, and the properties that describe it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Encoded {
    /// The bytes.
    pub body: Bytes,
    /// The MIME type, such as `application/json`.
    pub content_type: Cow<'static, str>,
    /// The character set, or `binary`.
    pub content_encoding: Cow<'static, str>,
}

impl Encoded {
    /// A body with its type and character set.
    #[must_use]
    pub fn new(
        body: impl Into<Bytes>,
        content_type: impl Into<Cow<'static, str>>,
        content_encoding: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            body: body.into(),
            content_type: content_type.into(),
            content_encoding: content_encoding.into(),
        }
    }
}

/// The codecs that a program uses, by name and by content type. Clones share them.
#[derive(Clone, Debug)]
pub struct Codecs {
    codecs: Arc<[Arc<dyn Codec>]>,
    /// Whether `json` is the built-in one, which can skip the detour over [`Value`].
    own_json: bool,
}

impl Codecs {
    /// Adds a codec. It replaces those with its name or its content type.
    #[must_use]
    pub fn with(self, codec: impl Codec) -> Self {
        let clashes = |other: &dyn Codec| {
            other.name() == codec.name() || same_type(other.content_type(), codec.content_type())
        };
        let own_json = self.own_json && !clashes(&Json);
        let others = self.codecs.iter().filter(|other| !clashes(&***other)).cloned();
        let mut codecs = others.collect::<Vec<_>>();
        codecs.push(Arc::new(codec));
        Self { codecs: codecs.into(), own_json }
    }

    /// The codec of a name, such as `json`, or of a content type, such as `application/json`.
    #[must_use]
    pub fn find(&self, name_or_type: &str) -> Option<&dyn Codec> {
        self.iter().find(|codec| {
            codec.name() == name_or_type || same_type(codec.content_type(), name_or_type)
        })
    }

    /// The codecs, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Codec> {
        self.codecs.iter().map(|codec| &**codec)
    }

    /// Writes `data` with the codec of a name or content type.
    ///
    /// Without one, Kombu's rule decides: a text travels as `text/plain`, bytes (`serialize_bytes`
    /// or [`Value::Bytes`]) as `application/data`, anything else as JSON. That includes types that
    /// serialize to a text, such as a UUID; name `json` to have them in quotes. A Python consumer
    /// that accepts only `json` refuses `text/plain`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if there is no such codec, [`ErrorKind::Encode`] if it has
    /// no form for `data`.
    pub fn encode<T: Serialize + ?Sized>(
        &self,
        serializer: Option<&str>,
        data: &T,
    ) -> Result<Encoded> {
        let encoded = match serializer {
            None if self.own_json => json::encode_bare(data),
            None => match Value::from_serialize(data)? {
                text @ Value::Text(_) => Text.encode_value(&text),
                bytes @ Value::Bytes(_) => Raw.encode_value(&bytes),
                other => self.named(Json.name())?.encode_value(&other),
            },
            Some(name) => {
                let codec = self.named(name)?;
                if self.own_json && codec.name() == Json.name() {
                    json::encode(data)
                } else {
                    codec.encode_value(&Value::from_serialize(data)?)
                }
            }
        };
        encoded.map_err(|error| error.during("encode body"))
    }

    /// Reads a body as a `T`, if `accept` lets its content type in.
    ///
    /// No content type means `application/data`, no encoding `utf-8`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ContentDisallowed`] if the content type is not accepted or has no codec here,
    /// [`ErrorKind::Decode`] if the body is broken or is not the shape of a `T`.
    pub fn decode<T: DeserializeOwned>(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        body: &[u8],
        accept: &Accept,
    ) -> Result<T> {
        self.read(content_type, content_encoding, accept, |codec, encoding| {
            if self.own_json && codec.name() == Json.name() {
                json::decode(body)
            } else {
                codec.decode_value(body, encoding)?.into_deserialize()
            }
        })
    }

    /// Reads a body as a [`Value`], if `accept` lets its content type in.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_value(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        body: &[u8],
        accept: &Accept,
    ) -> Result<Value> {
        self.read(content_type, content_encoding, accept, |codec, encoding| {
            codec.decode_value(body, encoding)
        })
    }

    fn read<T>(
        &self,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        accept: &Accept,
        decode: impl FnOnce(&dyn Codec, &str) -> Result<T>,
    ) -> Result<T> {
        let content_type = content_type.filter(|name| !name.is_empty()).unwrap_or(Raw::TYPE);
        let codec = accept.codec_for(content_type, self).map_err(|e| e.during("decode body"))?;
        let encoding = content_encoding.filter(|name| !name.is_empty()).unwrap_or("utf-8");
        let encoding = match encoding.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(encoding.to_ascii_lowercase()),
            false => Cow::Borrowed(encoding),
        };
        decode(codec, &encoding)
            .map_err(|error| error.during("decode body").with("content_type", content_type))
    }

    fn named(&self, name: &str) -> Result<&dyn Codec> {
        self.find(name).ok_or_else(|| self.unknown(name))
    }

    /// The error of a name or content type without a codec here.
    pub(super) fn unknown(&self, name: &str) -> Error {
        let known = self.iter().map(Codec::name).collect::<Vec<_>>();
        let optional = OPTIONAL.iter().find(|(feature, kind)| *feature == name || *kind == name);
        let note = match optional {
            Some((feature, _)) => {
                format!("it is not compiled in: enable the feature `{feature}` of the crate")
            }
            None => {
                let hint = suggest::did_you_mean(name, known.iter().copied());
                format!("no codec has this name or content type{hint}")
            }
        };
        let known = known.join(", ");
        Error::new(ErrorKind::InvalidArgument, format!("{note}; there are: {known}"))
            .with("codec", format_args!("{name:?}"))
    }
}

impl Default for Codecs {
    fn default() -> Self {
        let codecs: Vec<Arc<dyn Codec>> = vec![
            Arc::new(Json),
            #[cfg(feature = "msgpack")]
            Arc::new(super::Msgpack),
            #[cfg(feature = "pickle")]
            Arc::new(super::Pickle),
            Arc::new(Raw),
            Arc::new(Text),
            #[cfg(feature = "yaml")]
            Arc::new(super::Yaml),
        ];
        Self { codecs: codecs.into(), own_json: true }
    }
}

/// Whether two content types are the same: parameters (`; charset=utf-8`) and case do not count.
pub(super) fn same_type(left: &str, right: &str) -> bool {
    fn essence(content_type: &str) -> &str {
        content_type.split_once(';').map_or(content_type, |(kind, _)| kind).trim()
    }
    left == right || essence(left).eq_ignore_ascii_case(essence(right))
}

/// The features that bring a codec, which has the same name, and its content type.
const OPTIONAL: [(&str, &str); 3] = [
    ("msgpack", "application/x-msgpack"),
    ("pickle", "application/x-python-serialize"),
    ("yaml", "application/x-yaml"),
];
