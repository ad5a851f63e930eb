//! Reading to the end of a decompressor, or to the limit.

use std::io::Read;

use bytes::Bytes;

use crate::compression::Compressions;
use crate::error::{Error, ErrorKind, Result};

/// Reads what a decompressor makes of `body`, at most `limit` bytes. `form` is what the body
/// should be: `zlib stream`.
pub(super) fn restore(
    decompressor: impl Read,
    body: &[u8],
    limit: usize,
    form: &str,
) -> Result<Bytes> {
    let mut restored = Vec::with_capacity(body.len().saturating_mul(3).min(limit));
    let one_more = u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_add(1));
    decompressor.take(one_more).read_to_end(&mut restored).map_err(|error| {
        Error::new(ErrorKind::Decode, format!("the body is no {form}: {error}")).caused_by(error)
    })?;
    match restored.len() > limit {
        true => Err(Compressions::too_large(limit)),
        false => Ok(restored.into()),
    }
}
