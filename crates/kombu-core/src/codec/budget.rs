//! A bound on what shared parts of a body may grow to when they are copied.

use crate::error::{Error, ErrorKind, Result};
use crate::value::Value;

/// How much may still be made of a body whose parts can be used many times: a small one could
/// otherwise stand for more than the memory holds.
pub(super) struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    /// The budget of a body of that many bytes.
    pub(super) fn of(body: &[u8]) -> Self {
        let limit = body.len().saturating_mul(TIMES).max(LEAST);
        Self { left: limit, limit }
    }

    /// Takes what one value with that many bytes of text or data costs.
    pub(super) fn take(&mut self, length: usize) -> Result<()> {
        self.take_weight(NODE.saturating_add(length))
    }

    /// Takes the weight of a whole value.
    pub(super) fn take_weight(&mut self, weight: usize) -> Result<()> {
        match self.left.checked_sub(weight) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::new(
                ErrorKind::Decode,
                format!("the parts that it uses again and again exceed {} bytes", self.limit),
            )),
        }
    }
}

/// About how many bytes a value and everything in it take.
pub(super) fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Text(text) | Value::Decimal(text) | Value::Tagged(_, text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Table(table) => {
            table.iter().map(|(name, value)| NODE + name.len() + weight(value)).sum()
        }
        _ => 0,
    };
    NODE + inner
}

const NODE: usize = size_of::<Value>();

/// The least budget, which is also what a body restored from compression may have.
const LEAST: usize = 64 << 20;

/// What a body without repeated parts can take at most is less than this times its size.
const TIMES: usize = 64;
