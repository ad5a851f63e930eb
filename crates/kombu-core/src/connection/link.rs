//! The state that all handles of a connection share, and how they wait for the link.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::Settings;
use super::supervisor::{self, Control};
use super::topology::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{RawConnection, TransportRegistry};
use crate::url::BrokerUrls;

/// How a connection's link is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Ended by this side.
    Closed,
    /// There is a link; the text is the masked URL of the broker.
    Connected(String),
    /// A link is being made.
    Connecting,
    /// No broker answered, and no more attempts are made until the next use.
    Failed(Arc<Error>),
    /// Nothing asked for a link so far.
    Idle,
}

/// A link, numbered.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) generation: u64,
    pub(crate) raw: Arc<dyn RawConnection>,
    pub(crate) url: Arc<str>,
}

#[derive(Clone)]
pub(super) enum State {
    Closed,
    Connected(Link),
    Connecting { last: Option<Arc<Error>> },
    Failed { failed: u64, error: Arc<Error> },
    Idle,
}

pub(crate) struct Shared {
    pub(crate) urls: BrokerUrls,
    pub(crate) registry: TransportRegistry,
    /// The name of the first URL's transport.
    pub(crate) transport: &'static str,
    pub(crate) settings: Settings,
    pub(crate) topology: Topology,
    /// The number of the link that is up, 0 for none: the fast path of every call.
    generation: AtomicU64,
    state: watch::Sender<State>,
    control: mpsc::UnboundedSender<Control>,
    /// Taken by the supervisor when it starts.
    inbox: Mutex<Option<mpsc::UnboundedReceiver<Control>>>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    pub(super) fn new(urls: BrokerUrls, registry: TransportRegistry, settings: Settings) -> Self {
        let (control, inbox) = mpsc::unbounded_channel();
        let first = urls.iter().next().and_then(|url| registry.find(url.full_scheme()).ok());
        Self {
            transport: first.map_or("", |transport| transport.name()),
            urls,
            registry,
            settings,
            topology: Topology::default(),
            generation: AtomicU64::new(0),
            state: watch::Sender::new(State::Idle),
            control,
            inbox: Mutex::new(Some(inbox)),
            supervisor: Mutex::new(None),
        }
    }

    /// The number of the link that is up; 0 for none.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The link, waiting for one to be made until the deadline.
    pub(crate) async fn link(self: &Arc<Self>, deadline: Instant) -> Result<Link> {
        let mut states = self.state.subscribe();
        let seen = match &*states.borrow_and_update() {
            State::Connected(link) => return Ok(link.clone()),
            State::Closed => return Err(Error::closed("connection")),
            State::Failed { failed, .. } => *failed,
            State::Connecting { .. } | State::Idle => 0,
        };
        self.ensure_supervised()?;
        let _stopped = self.control.send(Control::Connect { failed: seen });
        let settled = states.wait_for(|state| match state {
            State::Connected(_) | State::Closed => true,
            State::Failed { failed, .. } => *failed > seen,
            State::Connecting { .. } | State::Idle => false,
        });
        match timeout_at(deadline, settled).await {
            Err(_elapsed) => Err(self.timed_out("connect")),
            Ok(Err(_sender_gone)) => Err(Error::closed("connection")),
            Ok(Ok(state)) => match &*state {
                State::Connected(link) => Ok(link.clone()),
                State::Failed { error, .. } => Err(error.duplicate()),
                State::Closed | State::Connecting { .. } | State::Idle => {
                    Err(Error::closed("connection"))
                }
            },
        }
    }

    /// The error of an operation whose deadline passed, with what is known of the link.
    pub(crate) fn timed_out(&self, operation: &'static str) -> Error {
        let error = Error::new(ErrorKind::Timeout, "the deadline passed").during(operation);
        match &*self.state.borrow() {
            State::Connecting { last: Some(last) } => {
                error.caused_by(last.duplicate()).with("link", last)
            }
            State::Connecting { last: None } => error.with("link", "connecting"),
            State::Connected(link) => error.with("url", &link.url),
            State::Closed | State::Failed { .. } | State::Idle => error,
        }
    }

    pub(super) fn set(&self, state: State) {
        let generation = if let State::Connected(link) = &state { link.generation } else { 0 };
        self.generation.store(generation, Ordering::Release);
        self.state.send_replace(state);
    }

    pub(super) fn state(&self) -> ConnectionState {
        self.state.borrow().public()
    }

    pub(super) async fn wait_for_state(
        &self,
        wanted: impl Fn(&ConnectionState) -> bool + Send,
    ) -> ConnectionState {
        let mut states = self.state.subscribe();
        match states.wait_for(|state| wanted(&state.public())).await {
            Ok(state) => state.public(),
            Err(_sender_gone) => ConnectionState::Closed,
        }
    }

    /// A sender that asks the supervisor to close a channel nobody holds any more.
    pub(crate) fn control(&self) -> mpsc::UnboundedSender<Control> {
        self.control.clone()
    }

    pub(super) fn request_close(&self) {
        let _stopped = self.control.send(Control::Close);
    }

    pub(super) async fn close(&self) -> Result<()> {
        let supervisor = lock(&self.supervisor).take();
        let never_started = lock(&self.inbox).take().is_some();
        if never_started {
            self.set(State::Closed);
            return Ok(());
        }
        self.request_close();
        if let Some(supervisor) = supervisor {
            let _panicked = supervisor.await;
        } else {
            self.wait_for_state(|state| matches!(state, ConnectionState::Closed)).await;
        }
        Ok(())
    }

    /// Starts the supervisor at the first use.
    fn ensure_supervised(self: &Arc<Self>) -> Result<()> {
        let Some(inbox) = lock(&self.inbox).take() else { return Ok(()) };
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "a connection needs a running tokio runtime")
                .caused_by(error)
        })?;
        let task = runtime.spawn(supervisor::run(Arc::clone(self), inbox));
        *lock(&self.supervisor) = Some(task);
        Ok(())
    }
}

impl State {
    fn public(&self) -> ConnectionState {
        match self {
            Self::Closed => ConnectionState::Closed,
            Self::Connected(link) => ConnectionState::Connected(link.url.to_string()),
            Self::Connecting { .. } => ConnectionState::Connecting,
            Self::Failed { error, .. } => ConnectionState::Failed(Arc::clone(error)),
            Self::Idle => ConnectionState::Idle,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Locks data that stays sound when a holder panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
