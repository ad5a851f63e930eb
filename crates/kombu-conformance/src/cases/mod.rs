//! The cases, by subject.

mod connect;
mod declare;
mod delete;
mod publish;
mod routing;
mod topic;

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        connect::cases(),
        declare::cases(),
        delete::cases(),
        routing::cases(),
        topic::cases(),
        publish::cases(),
    ]
    .concat()
}
