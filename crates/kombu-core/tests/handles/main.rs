//! The handles on a transport that fails as it is told. Time is paused, so that waits take none.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod healing;
mod pool;
mod rpc;
mod scripted;

use std::sync::Arc;

use kombu_core::{Connection, ConnectionBuilder};

use crate::scripted::{Script, Scripted};

fn builder(url: &str, script: &Arc<Script>) -> ConnectionBuilder {
    Connection::builder(url).transport(Scripted(Arc::clone(script)))
}
