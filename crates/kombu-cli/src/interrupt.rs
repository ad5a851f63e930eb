//! Ctrl-C and SIGTERM: the first asks to end in order, the second ends.

use std::future::Future;
use std::io;
use std::process;

use tokio::sync::watch;

use crate::end::{INTERRUPTED, Stop};

/// The wish to end. Clones hear of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// One that the process's signals make. From now on they end nothing by themselves.
    pub(crate) fn of_signals() -> io::Result<Self> {
        let mut signals = Signals::new()?;
        let (wish, interrupt) = Self::pair();
        tokio::spawn(async move {
            signals.next().await;
            wish.send_replace(true);
            signals.next().await;
            process::exit(INTERRUPTED.into());
        });
        Ok(interrupt)
    }

    /// One that the sender makes.
    pub(crate) fn pair() -> (watch::Sender<bool>, Self) {
        let (wish, receiver) = watch::channel(false);
        (wish, Self(receiver))
    }

    /// Waits for the wish; for ever if none can come. Cancel safe.
    pub(crate) async fn wished(&mut self) {
        if self.0.wait_for(|wished| *wished).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does something unless an interrupt comes first.
    pub(crate) async fn unless<T, E: Into<Stop>>(
        &mut self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.wished() => Err(Stop::Interrupted),
            done = work => done.map_err(Into::into),
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
