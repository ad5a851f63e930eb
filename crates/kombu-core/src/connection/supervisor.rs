//! The one task that owns a connection's link: connects, notices its loss, reconnects, closes.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::link::{Link, Shared, State};
use super::rounds::Rounds;
use crate::error::Error;
use crate::observe;
use crate::transport::RawChannel;

/// What handles ask of the supervisor.
pub(crate) enum Control {
    /// End the connection.
    Close,
    /// Close a channel that no handle or delivery holds any more.
    CloseChannel(Arc<dyn RawChannel>),
    /// There should be a link, although so many attempts failed.
    Connect { failed: u64 },
}

/// What ended a phase of the connection's life.
enum End {
    Close,
    Lost(Error),
}

pub(super) async fn run(shared: Arc<Shared>, mut inbox: mpsc::UnboundedReceiver<Control>) {
    let mut rounds = Rounds::new(&shared);
    let mut closing = JoinSet::new();
    let mut reconnecting = None;
    loop {
        let connected = tokio::select! {
            connected = rounds.connect(&shared, reconnecting.take()) => connected,
            () = until_close(&mut inbox) => break,
        };
        match connected {
            Ok(link) => {
                shared.set(State::Connected(link.clone()));
                match live(&link, &mut inbox, &mut closing).await {
                    End::Lost(error) => {
                        tracing::warn!(url = %link.url, %error, "connection lost, reconnecting");
                        observe::reconnected(shared.transport);
                        shared.set(State::Connecting { last: Some(Arc::new(error.duplicate())) });
                        reconnecting = Some(error);
                        // The dead link's remains are let go of without holding up the new one.
                        closing.spawn(async move { drop(link.raw.close().await) });
                    }
                    End::Close => {
                        while closing.join_next().await.is_some() {}
                        if let Err(error) = link.raw.close().await {
                            tracing::debug!(url = %link.url, %error, "close failed");
                        }
                        break;
                    }
                }
            }
            Err(error) => {
                let failed = rounds.failed();
                shared.set(State::Failed { failed, error: Arc::new(error) });
                if !until_connect(&mut inbox, failed).await {
                    break;
                }
                shared.set(State::Connecting { last: None });
            }
        }
    }
    shared.set(State::Closed);
}

/// Lives with a link until it is lost or to be closed.
async fn live(
    link: &Link,
    inbox: &mut mpsc::UnboundedReceiver<Control>,
    closing: &mut JoinSet<()>,
) -> End {
    loop {
        tokio::select! {
            error = link.raw.lost() => return End::Lost(error),
            control = inbox.recv() => match control {
                Some(Control::CloseChannel(channel)) => {
                    closing.spawn(async move {
                        if let Err(error) = channel.close().await {
                            tracing::debug!(%error, "channel close failed");
                        }
                    });
                }
                Some(Control::Connect { .. }) => {}
                Some(Control::Close) | None => return End::Close,
            },
            Some(_closed) = closing.join_next() => {}
        }
    }
}

/// Waits for the wish to close; all other wishes are moot without a link.
async fn until_close(inbox: &mut mpsc::UnboundedReceiver<Control>) {
    while let Some(control) = inbox.recv().await {
        if matches!(control, Control::Close) {
            return;
        }
    }
}

/// Waits for the wish to connect of somebody who knows of the last failure; false when the wish is
/// to close.
async fn until_connect(inbox: &mut mpsc::UnboundedReceiver<Control>, known: u64) -> bool {
    while let Some(control) = inbox.recv().await {
        match control {
            Control::Connect { failed } if failed == known => return true,
            Control::Close => return false,
            Control::CloseChannel(_) | Control::Connect { .. } => {}
        }
    }
    false
}
