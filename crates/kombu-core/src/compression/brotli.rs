//! Brotli.

use std::io::Write as _;

use brotli::enc::BrotliEncoderParams;
use brotli::{CompressorWriter, Decompressor};
use bytes::Bytes;

use crate::compression::Compression;
use crate::compression::restore::restore;
use crate::error::{Error, ErrorKind, Result};

/// The method `brotli`.
///
/// Bodies are compressed at level 5 of 11: Python's default, 11, takes a hundred times as long for
/// a little less. Restoring takes up to 16 MB beside the restored body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Brotli;

impl Compression for Brotli {
    fn content_type(&self) -> &str {
        "application/x-brotli"
    }

    fn aliases(&self) -> &[&str] {
        &["brotli"]
    }

    fn compress(&self, body: &[u8]) -> Result<Bytes> {
        let parameters =
            BrotliEncoderParams { quality: 5, size_hint: body.len(), ..Default::default() };
        let mut encoder = CompressorWriter::with_params(Vec::new(), BUFFER, &parameters);
        match encoder.write_all(body) {
            Ok(()) => Ok(encoder.into_inner().into()),
            Err(error) => Err(Error::new(ErrorKind::Encode, "brotli failed").caused_by(error)),
        }
    }

    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes> {
        restore(Decompressor::new(body, BUFFER), body, limit, "brotli stream")
    }
}

const BUFFER: usize = 4096;
