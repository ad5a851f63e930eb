//! Handlers for the messages of queues: so many at a time, with deadlines, retries, dead letters
//! and a graceful stop.
//!
//! | a handler | its message |
//! |---|---|
//! | returns `Ok` or [`Verdict::Done`] | is acknowledged |
//! | returns `Err` or [`Verdict::Retry`] | is tried again as [`Worker::retry`] says, then given up |
//! | panics | as with `Err`; other handlers go on |
//! | takes longer than [`Worker::deadline`] | as with `Err`; the handler is dropped |
//! | fails to decode its body, or returns [`Verdict::Reject`] | is given up at once |
//! | returns [`Verdict::Requeue`] | goes back to the head of its queue |
//! | is still at work when the grace of a stop is over | goes back; the handler is dropped |
//!
//! To be tried again, a message is published anew to its queue, with the number of attempts so far
//! in the header [`ATTEMPTS_HEADER`], and then acknowledged. A message that is given up goes to
//! [`Worker::dead_letters`], else it is rejected: its queue's dead letter exchange takes it, if
//! there is one.

mod builder;
mod chain;
mod job;
mod redelivery;
mod run;
mod verdict;

pub use builder::Worker;
pub use chain::Next;
pub use job::Job;
pub use redelivery::{ATTEMPTS_HEADER, ERROR_HEADER, EXCHANGE_HEADER, ROUTING_KEY_HEADER};
pub use verdict::{IntoVerdict, Verdict};
