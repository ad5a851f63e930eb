//! Bzip2.

use std::io::Write as _;

use bytes::Bytes;
use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;

use crate::compression::Compression;
use crate::compression::restore::restore;
use crate::error::{Error, ErrorKind, Result};

/// The method `bzip2` or `bzip`, at the highest level, as Python does it.
///
/// Restoring takes about 4 MB beside the restored body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Bzip2;

impl Compression for Bzip2 {
    fn content_type(&self) -> &str {
        "application/x-bz2"
    }

    fn aliases(&self) -> &[&str] {
        &["bzip2", "bzip"]
    }

    fn compress(&self, body: &[u8]) -> Result<Bytes> {
        let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
        encoder
            .write_all(body)
            .and_then(|()| encoder.finish())
            .map(Bytes::from)
            .map_err(|error| Error::new(ErrorKind::Encode, "bzip2 failed").caused_by(error))
    }

    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes> {
        restore(MultiBzDecoder::new(body), body, limit, "bzip2 stream")
    }
}
