//! Compressed bodies.
//!
//! [`Compressions`] is the set of methods that a program uses, a plain value as
//! [`Codecs`](crate::codec::Codecs) is. A compressed body travels with the header `compression`,
//! which holds the method's content type.

#[cfg(feature = "brotli")]
mod brotli;
#[cfg(feature = "bzip2")]
mod bzip2;
mod registry;
#[cfg(any(
    feature = "brotli",
    feature = "bzip2",
    feature = "gzip",
    feature = "xz",
    feature = "zstd"
))]
mod restore;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "gzip")]
mod zlib;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(feature = "brotli")]
pub use brotli::Brotli;
#[cfg(feature = "bzip2")]
pub use bzip2::Bzip2;
pub use registry::{Compressed, Compression, Compressions};
#[cfg(feature = "xz")]
pub use xz::Xz;
#[cfg(feature = "gzip")]
pub use zlib::Zlib;
#[cfg(feature = "zstd")]
pub use zstd::Zstd;
