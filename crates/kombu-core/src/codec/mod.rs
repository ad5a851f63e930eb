//! Bodies: how values become bytes and how bytes become values again.
//!
//! [`Codecs`] is the set of codecs that a program uses: a plain value, without any global behind
//! it. [`Codecs::default`] holds [`Json`], [`Text`] and [`Raw`]; [`Codecs::with`] adds others.
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
pub mod json;
mod raw;
mod registry;
mod text;

pub use accept::Accept;
pub use json::Json;
pub use raw::Raw;
pub use registry::{Codec, Codecs, Encoded};
pub use text::Text;
