//! The compression interface and the set of methods that a program uses.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::suggest;

/// A way to make bodies smaller.
pub trait Compression: fmt::Debug + Send + Sync + 'static {
    /// The name on the wire: the value of the header `compression`.
    fn content_type(&self) -> &str;

    /// The short names, such as `gzip`.
    fn aliases(&self) -> &[&str];

    /// Makes a body smaller.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Encode`] if the method fails.
    fn compress(&self, body: &[u8]) -> Result<Bytes>;

    /// Restores a body of at most `limit` bytes.
    ///
    /// It must neither panic nor use more memory than a small multiple of `limit`, whatever the
    /// bytes are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if the bytes are not of this method, or the restored body is larger;
    /// [`Compressions::too_large`] makes that error.
    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes>;
}

/// A compressed body and the value of its header `compression`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Compressed {
    /// The bytes.
    pub body: Bytes,
    /// The method's content type.
    pub content_type: String,
}

/// The compression methods that a program uses, and how large a restored body may be.
///
/// The default has what the features of the crate offer: `brotli`, `bzip2`, `gzip` (which is
/// zlib), `xz` and `zstd`. Restored bodies are limited to 64 MiB. Clones share the methods.
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use kombu_core::Compressions;
/// let compressions = Compressions::default();
/// let compressed = compressions.compress("gzip", &[b'a'; 1000])?;
/// assert_eq!(compressed.content_type, "application/x-gzip");
/// assert!(compressed.body.len() < 100);
/// let body = compressions.decompress(&compressed.content_type, &compressed.body)?;
/// assert_eq!(body, vec![b'a'; 1000]);
/// # }
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Kombu
///
/// Kombu restores bodies of any size, so that a small message can fill the memory.
#[derive(Clone, Debug)]
pub struct Compressions {
    methods: Arc<[Arc<dyn Compression>]>,
    limit_bytes: usize,
}

impl Compressions {
    /// Adds a method. It replaces those with its content type or one of its short names.
    #[must_use]
    pub fn with(mut self, method: impl Compression) -> Self {
        let clashes = |other: &dyn Compression| {
            has_name(other, method.content_type())
                || method.aliases().iter().any(|alias| has_name(other, alias))
        };
        let others = self.methods.iter().filter(|other| !clashes(&***other)).cloned();
        let mut methods = others.collect::<Vec<_>>();
        methods.push(Arc::new(method));
        self.methods = methods.into();
        self
    }

    /// Sets how many bytes a restored body may have; 64 MiB if this is not called.
    #[must_use]
    pub fn limit_bytes(mut self, limit: usize) -> Self {
        self.limit_bytes = limit;
        self
    }

    /// The method of a short name, such as `zlib`, or a content type.
    #[must_use]
    pub fn find(&self, name_or_type: &str) -> Option<&dyn Compression> {
        self.iter().find(|method| has_name(*method, name_or_type))
    }

    /// The methods, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Compression> {
        self.methods.iter().map(|method| &**method)
    }

    /// Makes a body smaller by the method of a short name or content type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if there is no such method, [`ErrorKind::Encode`] if it
    /// fails.
    pub fn compress(&self, method: &str, body: &[u8]) -> Result<Compressed> {
        let found =
            self.find(method).ok_or_else(|| self.unknown(ErrorKind::InvalidArgument, method));
        let compressed = found.and_then(|found| {
            Ok(Compressed {
                body: found.compress(body)?,
                content_type: found.content_type().to_owned(),
            })
        });
        compressed.map_err(|error| error.during("compress body").with("compression", method))
    }

    /// Restores a body by the method that its header `compression` names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Decode`] if there is no such method, if the body is broken, or if it would
    /// have more bytes than the limit.
    pub fn decompress(&self, method: &str, body: &[u8]) -> Result<Bytes> {
        let found = self.find(method).ok_or_else(|| self.unknown(ErrorKind::Decode, method));
        found
            .and_then(|found| found.decompress(body, self.limit_bytes))
            .map_err(|error| error.during("decompress body").with("compression", method))
    }

    /// The error of a body that would have more than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Error {
        Error::new(
            ErrorKind::Decode,
            format!("the restored body would have more than the {limit} bytes that are allowed"),
        )
    }

    fn unknown(&self, kind: ErrorKind, name: &str) -> Error {
        let known = KNOWN.iter().find(|known| known.names.contains(&name));
        let note = match known {
            Some(Known { feature, .. }) => {
                format!("it is not compiled in: enable the feature `{feature}` of the crate")
            }
            None => {
                let names = self.iter().flat_map(|method| method.aliases().iter().copied());
                let names = names.collect::<Vec<_>>();
                let hint = suggest::did_you_mean(name, names.iter().copied());
                format!("no method has this name or content type{hint}")
            }
        };
        let have = self
            .iter()
            .filter_map(|method| method.aliases().first().copied())
            .collect::<Vec<_>>()
            .join(", ");
        let have = if have.is_empty() { "none" } else { &have };
        Error::new(kind, format!("{note}; there are: {have}"))
    }
}

impl Default for Compressions {
    fn default() -> Self {
        let methods: Vec<Arc<dyn Compression>> = vec![
            #[cfg(feature = "brotli")]
            Arc::new(super::Brotli),
            #[cfg(feature = "bzip2")]
            Arc::new(super::Bzip2),
            #[cfg(feature = "gzip")]
            Arc::new(super::Zlib),
            #[cfg(feature = "xz")]
            Arc::new(super::Xz),
            #[cfg(feature = "zstd")]
            Arc::new(super::Zstd),
        ];
        Self { methods: methods.into(), limit_bytes: 64 << 20 }
    }
}

fn has_name(method: &dyn Compression, name: &str) -> bool {
    method.content_type() == name || method.aliases().contains(&name)
}

/// A method that Kombu has, for the error of a build that lacks it.
struct Known {
    /// The content type and the short names.
    names: &'static [&'static str],
    feature: &'static str,
}

const KNOWN: [Known; 5] = [
    Known { names: &["application/x-brotli", "brotli"], feature: "brotli" },
    Known { names: &["application/x-bz2", "bzip2", "bzip"], feature: "bzip2" },
    Known { names: &["application/x-gzip", "gzip", "zlib"], feature: "gzip" },
    Known { names: &["application/x-lzma", "lzma", "xz"], feature: "xz" },
    Known { names: &["application/zstd", "zstd", "zstandard"], feature: "zstd" },
];
