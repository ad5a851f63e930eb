//! LZMA in the container xz.

use std::io::Write as _;

use bytes::Bytes;
use lzma_rust2::{XzOptions, XzReader, XzWriter};

use crate::compression::Compression;
use crate::compression::restore::restore;
use crate::error::{Error, ErrorKind, Result};

/// The method `lzma` or `xz`: LZMA in the container xz, at level 6, as Python does it.
///
/// Restoring takes as much memory as the sender's window beside the restored body; one of more
/// than 64 MiB, which no level of the program `xz` needs, or the limit, if that is more, is refused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Xz;

impl Compression for Xz {
    fn content_type(&self) -> &str {
        "application/x-lzma"
    }

    fn aliases(&self) -> &[&str] {
        &["lzma", "xz"]
    }

    fn compress(&self, body: &[u8]) -> Result<Bytes> {
        let mut options = XzOptions::with_preset(6);
        // A window larger than the body only takes memory.
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let window = &mut options.lzma_options.dict_size;
        *window = length.clamp(4096, *window);
        XzWriter::new(Vec::new(), options)
            .and_then(|mut encoder| {
                encoder.write_all(body)?;
                encoder.finish()
            })
            .map(Bytes::from)
            .map_err(|error| Error::new(ErrorKind::Encode, "xz failed").caused_by(error))
    }

    fn decompress(&self, body: &[u8], limit: usize) -> Result<Bytes> {
        // A mebibyte is for what the decoder needs beside the window.
        let window = limit.max(64 << 20).saturating_add(1 << 20) >> 10;
        let decoder =
            XzReader::new_mem_limit(body, true, u32::try_from(window).unwrap_or(u32::MAX));
        restore(decoder, body, limit, "xz stream")
    }
}
