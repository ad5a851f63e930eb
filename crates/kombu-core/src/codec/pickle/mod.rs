//! Python's pickle format, for plain data.
//!
//! A pickle is a program for a stack machine, and Python's own reader runs it: it calls whatever
//! the sender names. The reader here builds data and knows a closed list of names for the kinds of
//! data in [`known`]; there is nothing else that it could call.

mod build;
mod known;
mod machine;
mod opcode;
mod source;
mod write;

use crate::codec::{Codec, Encoded};
use crate::error::Result;
use crate::value::Value;

/// The codec `pickle`: `application/x-python-serialize`, for plain data only.
///
/// Reading never executes anything. Protocols 0 to 5 are read, and of them:
///
/// - None, bool, int, float, str, bytes, bytearray, list, tuple, set, frozenset and dict, where
///   tuples and sets become lists, and integers of more than 64 bits [`Value::Decimal`];
/// - `datetime`, `date` and `time` (with a time zone that states its offset: `timezone`, pytz,
///   UTC of `zoneinfo` and dateutil), `Decimal` and `UUID`;
/// - `OrderedDict`, `defaultdict`, `Counter` and `deque` as the table or list that they are.
///
/// Any other class, function or extension is an error that names it, and so are structures that
/// contain themselves. Keys of dicts that are numbers, truth values or None become texts. Nesting
/// is limited to [`MAX_DEPTH`](crate::codec::MAX_DEPTH), and the copies of what a pickle uses
/// several times to 64 MiB or 64 times its size, if that is more.
///
/// Written is protocol 4, as Kombu does. [`Value::Timestamp`] becomes a `datetime` in UTC.
///
/// # Kombu
///
/// Kombu's consumers run what the sender of a pickle wrote, once they accept it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name without parts")]
pub struct Pickle;

impl Codec for Pickle {
    fn name(&self) -> &str {
        self.as_ref()
    }

    fn content_type(&self) -> &str {
        TYPE
    }

    fn encode_value(&self, value: &Value) -> Result<Encoded> {
        Ok(Encoded::new(write::write(value)?, TYPE, "binary"))
    }

    /// As in Kombu the encoding is not looked at. An empty body is null.
    fn decode_value(&self, body: &[u8], _: &str) -> Result<Value> {
        match body.is_empty() {
            true => Ok(Value::Null),
            false => machine::read(body),
        }
    }
}

/// The name.
impl AsRef<str> for Pickle {
    fn as_ref(&self) -> &str {
        "pickle"
    }
}

const TYPE: &str = "application/x-python-serialize";
