//! Links that break and come back. These cases run alone: they disturb the broker.

mod broker;
mod link;
mod topology;
mod traffic;

use std::time::Duration;

use kombu_core::{Connection, ConnectionState};

use crate::case::Case;
use crate::failure::Failure;
use crate::wait;

/// All cases of recovery.
pub(in crate::cases) fn cases() -> Vec<Case> {
    [link::cases(), topology::cases(), broker::cases()].concat()
}

/// How long a link may take to come back.
const BACK: Duration = Duration::from_secs(40);

/// Waits until the connection has noticed that its link is gone.
#[track_caller]
fn until_down(connection: &Connection) -> impl Future<Output = Result<(), Failure>> + use<'_> {
    let down = connection.wait_for_state(|state| !is_up(state));
    let waited = wait::within(BACK, "the connection to notice its loss", down);
    async move { waited.await.map(drop) }
}

/// Waits until the connection has a link.
#[track_caller]
fn until_up(connection: &Connection) -> impl Future<Output = Result<(), Failure>> + use<'_> {
    let waited = wait::within(BACK, "the link to come back", connection.wait_for_state(is_up));
    async move { waited.await.map(drop) }
}

fn is_up(state: &ConnectionState) -> bool {
    matches!(state, ConnectionState::Connected(_))
}
