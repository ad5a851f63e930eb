//! Compressed bodies.
//!
//! [`Compressions`] is the set of methods that a program uses, a plain value as
//! [`Codecs`](crate::codec::Codecs) is. A compressed body travels with the header `compression`,
//! which holds the method's content type.

mod registry;
#[cfg(feature = "gzip")]
mod zlib;

pub use registry::{Compressed, Compression, Compressions};
#[cfg(feature = "gzip")]
pub use zlib::Zlib;
