//! The cases, by subject.

mod ack;
mod bodies;
mod cancel;
mod concurrency;
mod connect;
mod consume;
mod declare;
mod delayed;
mod delete;
mod get;
mod limits;
mod names;
mod properties;
mod publish;
mod recovery;
mod refusal;
mod routing;
mod run;
mod topic;

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        connect::cases(),
        declare::cases(),
        delete::cases(),
        names::cases(),
        routing::cases(),
        topic::cases(),
        publish::cases(),
        properties::cases(),
        bodies::cases(),
        get::cases(),
        ack::cases(),
        consume::cases(),
        cancel::cases(),
        run::cases(),
        limits::cases(),
        delayed::cases(),
        concurrency::cases(),
        refusal::cases(),
        recovery::cases(),
    ]
    .concat()
}
