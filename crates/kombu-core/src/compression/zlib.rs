//! What Kombu calls gzip.

use std::io::Write as _;

use bytes::Bytes;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::compression::Compression;
use crate::compression::restore::restore;
use crate::error::{Error, ErrorKind, Result};

/// The method `gzip` or `zlib`.
///
/// # Kombu
///
/// The content type is `application/x-gzip`, but the bytes are a zlib stream (RFC 1950), not a
/// gzip file: Python's Kombu calls `zlib.compress`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Zlib;

impl Compression for Zlib {
    fn content_type(&self) -> &str {
        "application/x-gzip"
    }

    fn aliases(&self) -> &[&str] {
        &["gzip", "zlib"]
    }

    fn compress(&self, body: &[u8]) -> Result<Bytes> {
        let out = Vec::with_capacity(body.len() / 2 + 64);
        let mut encoder = ZlibEncoder::new(out, flate2::Compression::default());
        encoder
            .write_all(body)
            .and_then(|()| encoder.finish())
            .map(Bytes::from)
            .map_err(|error| Error::new(ErrorKind::Encode, "zlib failed").caused_by(error))
    }

    /// Bytes after the end of the stream are not looked at, as in Python.
    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes> {
        restore(ZlibDecoder::new(body), body, limit, "zlib stream")
    }
}
