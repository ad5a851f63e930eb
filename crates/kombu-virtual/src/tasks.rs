//! The tasks of a connection.

use std::future::Future;
use std::sync::Arc;

use kombu_core::{Error, ErrorKind, Scope};
use tokio::sync::watch;

use crate::ended::Ended;

/// Tasks that run to their end, and are waited for. None is ever aborted: a call to a store that is
/// dropped half way may lose messages.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: watch::Sender<usize>,
    /// What ends when a task panics.
    owner: Arc<Ended>,
}

impl Tasks {
    pub(crate) fn new(owner: Arc<Ended>) -> Self {
        Self { running: watch::Sender::new(0), owner }
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let running = Running::new(self);
        tokio::spawn(async move {
            let _running = running;
            work.await;
        });
    }

    /// Waits until no task runs. Cancel safe.
    pub(crate) async fn all_ended(&self) {
        let mut level = self.running.subscribe();
        let _sender_lives = level.wait_for(|count| *count == 0).await;
    }
}

struct Running {
    count: watch::Sender<usize>,
    owner: Arc<Ended>,
}

impl Running {
    fn new(tasks: &Tasks) -> Self {
        tasks.running.send_modify(|count| *count += 1);
        Self { count: tasks.running.clone(), owner: Arc::clone(&tasks.owner) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panicked = Error::new(ErrorKind::Other, "a task of the transport panicked");
            self.owner.end(panicked.scoped(Scope::Connection).recoverable(true));
        }
        self.count.send_modify(|count| *count -= 1);
    }
}
