//! Bodies: how values become bytes and how bytes become values again.
//!
//! [`Codecs`] is the set of codecs that a program uses: a plain value, without any global behind
//! it. [`Codecs::default`] holds [`Json`], [`Text`], [`Raw`] and those of the features `msgpack`,
//! `pickle` and `yaml`; [`Codecs::with`] adds others.
//! [`Accept`] says which of them a consumer lets in.
//!
//! ```
//! use kombu_core::codec::{Accept, Codecs};
//! let codecs = Codecs::default();
//! let encoded = codecs.encode(None, &("clip.mp4", 30))?;
//! assert_eq!(&encoded.body[..], br#"["clip.mp4",30]"#);
//! assert_eq!(encoded.content_type, "application/json");
//!
//! let (name, length): (String, u32) = codecs.decode(
//!     Some(&encoded.content_type), Some(&encoded.content_encoding), &encoded.body, &Accept::default(),
//! )?;
//! assert_eq!((name.as_str(), length), ("clip.mp4", 30));
//! # Ok::<(), kombu_core::Error>(())
//! ```

mod accept;
#[cfg(any(feature = "pickle", feature = "yaml"))]
mod budget;
pub mod json;
#[cfg(feature = "msgpack")]
mod msgpack;
#[cfg(any(feature = "pickle", feature = "yaml"))]
mod number;
#[cfg(feature = "pickle")]
mod pickle;
mod raw;
mod registry;
mod text;
#[cfg(feature = "yaml")]
mod yaml;

pub use accept::Accept;
pub use json::{Json, JsonRules};
#[cfg(feature = "msgpack")]
pub use msgpack::Msgpack;
#[cfg(feature = "pickle")]
pub use pickle::Pickle;
pub use raw::Raw;
pub use registry::{Codec, Codecs, Encoded};
pub use text::Text;
#[cfg(feature = "yaml")]
pub use yaml::Yaml;

/// How deep lists and objects may be nested, when written and when read.
///
/// It bounds the stack that a hostile body can use.
pub const MAX_DEPTH: usize = 128;
