//! The cases.

mod body;
mod codec;
#[cfg(feature = "amqp")]
mod delayed;
mod entities;
mod exchange;
mod header;
mod mailbox;
mod order;
mod peer;
mod property;
mod reply;
mod settle;

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        body::cases(),
        codec::cases(),
        #[cfg(feature = "amqp")]
        delayed::cases(),
        entities::cases(),
        exchange::cases(),
        header::cases(),
        mailbox::cases(),
        order::cases(),
        peer::cases(),
        property::cases(),
        reply::cases(),
        settle::cases(),
    ]
    .concat()
}
