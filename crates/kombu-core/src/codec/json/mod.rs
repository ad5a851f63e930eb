//! JSON as Python's Kombu writes and reads it.
//!
//! Bodies have Kombu's tagged objects: see [`Value`](crate::Value) and [`Json`]. Transports use
//! [`parse`] and [`write()`] for what is JSON of their own, such as the envelope of a message, and
//! decide themselves whether tags mean anything there ([`untag`]).

mod body;
mod parse;
mod write;

pub use body::Json;
pub(super) use body::{decode, encode, encode_bare};
pub use parse::{parse, untag};
pub use write::write;

/// How deep lists and objects may be nested, when written and when read.
///
/// It bounds the stack that a hostile body can use.
pub const MAX_DEPTH: usize = 128;
