//! JSON as Python's Kombu writes and reads it.
//!
//! Bodies have Kombu's tagged objects: see [`Value`](crate::Value) and [`Json`]. Transports use
//! [`parse`] and [`write()`] for what is JSON of their own, such as the envelope of a message, and
//! decide themselves whether tags mean anything there ([`untag`]).

mod body;
mod parse;
mod rules;
mod write;

pub use body::Json;
pub(super) use body::{decode, encode, encode_bare};
pub use parse::{parse, parse_strict, untag};
pub use rules::{JsonRules, Tagged};
pub use write::write;

pub use super::MAX_DEPTH;
