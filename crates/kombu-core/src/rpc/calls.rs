//! The calls of a client that wait for their replies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::connection::lock;
use crate::consumer::Delivery;
use crate::error::{Error, Result};

/// Who waits for which reply, by correlation id.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<String, oneshot::Sender<Delivery>>,
    /// Set when no reply can come any more.
    ended: Option<Arc<Error>>,
}

/// A call that waits. Dropped, it waits no more, and its reply is one that nobody wants.
#[derive(Debug)]
pub(super) struct Waiting {
    calls: Arc<Calls>,
    id: String,
    reply: oneshot::Receiver<Delivery>,
}

impl Calls {
    /// Waits for the reply with this id.
    pub(super) fn wait(self: &Arc<Self>, id: String) -> Result<Waiting> {
        let (sender, reply) = oneshot::channel();
        let mut state = lock(&self.0);
        if let Some(error) = &state.ended {
            return Err(error.duplicate());
        }
        state.waiting.insert(id.clone(), sender);
        Ok(Waiting { calls: Arc::clone(self), id, reply })
    }

    /// Hands a reply to the call that waits for it; one that nobody waits for is dropped.
    pub(super) fn answer(&self, reply: Delivery) {
        let id = reply.properties().correlation_id.as_deref();
        let waiting = id.and_then(|id| lock(&self.0).waiting.remove(id));
        match waiting {
            Some(waiting) => drop(waiting.send(reply)),
            None => tracing::debug!(id, "a reply came that nobody waits for"),
        }
    }

    /// Lets all calls fail, now and later.
    pub(super) fn end(&self, error: Error) {
        let mut state = lock(&self.0);
        state.ended.get_or_insert(Arc::new(error));
        state.waiting.clear();
    }

    fn why_ended(&self) -> Error {
        match &lock(&self.0).ended {
            Some(error) => error.duplicate(),
            None => Error::closed("client"),
        }
    }
}

impl Waiting {
    /// The reply.
    pub(super) async fn reply(mut self) -> Result<Delivery> {
        (&mut self.reply).await.map_err(|_ended| self.calls.why_ended())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.calls.0).waiting.remove(&self.id);
    }
}
