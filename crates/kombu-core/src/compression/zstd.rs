//! Zstandard.

use bytes::Bytes;
use zstd::bulk;
use zstd::stream::read::Decoder;

use crate::compression::Compression;
use crate::compression::restore::restore;
use crate::error::{Error, ErrorKind, Result};

/// The method `zstd` or `zstandard`, at level 3, as Python does it.
///
/// Restoring takes as much memory as the sender's window beside the restored body; one of more
/// than 128 MiB is refused, and one of more than 8 MiB if the limit is smaller.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Zstd;

impl Compression for Zstd {
    fn content_type(&self) -> &str {
        "application/zstd"
    }

    fn aliases(&self) -> &[&str] {
        &["zstd", "zstandard"]
    }

    fn compress(&self, body: &[u8]) -> Result<Bytes> {
        bulk::compress(body, zstd::DEFAULT_COMPRESSION_LEVEL)
            .map(Bytes::from)
            .map_err(|error| Error::new(ErrorKind::Encode, "zstd failed").caused_by(error))
    }

    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes> {
        let window_log = limit.max(1).ilog2().clamp(23, 27);
        let decoder = Decoder::with_buffer(body).and_then(|mut decoder| {
            decoder.window_log_max(window_log)?;
            Ok(decoder)
        });
        match decoder {
            Ok(decoder) => restore(decoder, body, limit, "zstd frame"),
            Err(error) => Err(Error::new(ErrorKind::Decode, "zstd failed").caused_by(error)),
        }
    }
}
