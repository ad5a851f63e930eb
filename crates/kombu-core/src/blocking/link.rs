//! The thread behind a connection, and how calls wait.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::connection::{Connection, ConnectionBuilder, lock};
use crate::error::{Error, ErrorKind, Result};

/// A connection and the runtime that it lives in, shared by all handles of it. The last of them
/// ends both in the background.
pub(super) struct Link {
    pub(super) connection: Connection,
    thread: RuntimeThread,
}

impl Link {
    pub(super) fn connect(builder: ConnectionBuilder) -> Result<Arc<Self>> {
        let thread = RuntimeThread::start()?;
        let connection = thread.wait(builder.connect())?;
        Ok(Arc::new(Self { connection, thread }))
    }

    /// Runs a future to its end.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.thread.wait(future)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.thread.end_after(self.connection.clone());
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.connection.fmt(f)
    }
}

/// A thread that runs a runtime until it is told to end, or this is dropped.
struct RuntimeThread {
    runtime: Handle,
    end: Mutex<Option<oneshot::Sender<Connection>>>,
}

impl RuntimeThread {
    fn start() -> Result<Self> {
        let (end, ended) = oneshot::channel::<Connection>();
        let (started, start) = mpsc::sync_channel(1);
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            drop(started.send(Ok(runtime.handle().clone())));
            runtime.block_on(async {
                if let Ok(connection) = ended.await {
                    let _too_slow = timeout(CLOSING, connection.close()).await;
                }
            });
            // A look-up of names that hangs holds up nobody.
            runtime.shutdown_background();
        };
        let failed = |error| {
            Error::new(ErrorKind::Other, "no thread for the connection")
                .caused_by(error)
                .during("connect")
        };
        thread::Builder::new().name("kombu".to_owned()).spawn(run).map_err(failed)?;
        let runtime = start.recv().unwrap_or_else(|_ended| {
            Err(std::io::Error::other("the thread ended before it began"))
        });
        Ok(Self { runtime: runtime.map_err(failed)?, end: Mutex::new(Some(end)) })
    }

    /// Runs a future to its end on this thread; its timers, sockets and tasks are the runtime's.
    fn wait<F: Future>(&self, future: F) -> F::Output {
        let _context = self.runtime.enter();
        // The task of another runtime may call this. Its budget must not count here: once it is
        // used up, nothing would ever be ready.
        block_on(unconstrained(future))
    }

    fn end_after(&self, connection: Connection) {
        if let Some(end) = lock(&self.end).take() {
            let _ended = end.send(connection);
        }
    }
}

/// Polls a future and sleeps in between. Unlike that of a runtime, it works anywhere.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// How long the end may take of a connection that nobody closed.
const CLOSING: Duration = Duration::from_secs(5);
