//! What a queue's arguments ask for.

use std::sync::Arc;
use std::time::Duration;

use kombu_core::{Error, ErrorKind, Queue, Result, Value};
use kombu_virtual::dead_letter::DeadLetters;
use kombu_virtual::expiry;

/// The arguments of a queue, understood.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) message_ttl: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) max_length: Option<usize>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    /// The highest priority; `None` for a queue without priorities.
    pub(crate) max_priority: Option<u8>,
    pub(crate) letters: Option<Arc<DeadLetters>>,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Overflow {
    /// Gives up its first message.
    #[default]
    DropHead,
    /// Refuses the new message.
    RejectPublish,
    /// Refuses the new message, which becomes a dead letter.
    RejectPublishDeadLetter,
}

impl Arguments {
    pub(crate) fn read(queue: &Queue) -> Result<Self> {
        for name in ["x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes"] {
            number(queue, name)?;
        }
        if expiry::of_queue(queue) == Some(Duration::ZERO) {
            return Err(wrong(queue, "x-expires", "a number of milliseconds above 0"));
        }
        let max_priority = match number(queue, "x-max-priority")?.map(u8::try_from) {
            None => None,
            Some(Ok(0)) | Some(Err(_)) => {
                return Err(wrong(queue, "x-max-priority", "a number from 1 to 255"));
            }
            Some(Ok(levels)) => Some(levels),
        };
        Ok(Self {
            message_ttl: expiry::of_queue_messages(queue),
            expires: expiry::of_queue(queue),
            max_length: number(queue, "x-max-length")?
                .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            max_bytes: number(queue, "x-max-length-bytes")?,
            overflow: overflow(queue)?,
            max_priority,
            letters: DeadLetters::of(queue).map(Arc::new),
        })
    }
}

fn overflow(queue: &Queue) -> Result<Overflow> {
    match queue.arguments().get("x-overflow").map(Value::as_str) {
        None | Some(Some("drop-head")) => Ok(Overflow::DropHead),
        Some(Some("reject-publish")) => Ok(Overflow::RejectPublish),
        Some(Some("reject-publish-dlx")) => Ok(Overflow::RejectPublishDeadLetter),
        Some(_) => Err(wrong(
            queue,
            "x-overflow",
            "\"drop-head\", \"reject-publish\" or \"reject-publish-dlx\"",
        )),
    }
}

fn number(queue: &Queue, name: &'static str) -> Result<Option<u64>> {
    match queue.arguments().get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64().map(u64::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(wrong(queue, name, "a whole number, not negative")),
        },
    }
}

fn wrong(queue: &Queue, name: &'static str, right: &str) -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        format!("argument {name} of queue {:?} is to be {right}", queue.name()),
    )
}
