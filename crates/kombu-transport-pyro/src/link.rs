//! A link to the broker object: requests go out as they come, answers are given to who waits.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use kombu_core::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Duration, sleep};

use crate::call::{self, Answer, Argument};
use crate::error::{broken, hung_up};
use crate::frame::{self, Decoder, INVOKE, PING};
use crate::lock::lock;
use crate::mac::Key;
use crate::session::Session;
use crate::settings::Settings;
use crate::shared::{Held, Shared};
use crate::state::{State, Taken, Wanted};

/// A link. It is over when it is lost: the next one is another.
#[derive(Debug)]
pub(crate) struct Link {
    inner: Arc<Inner>,
    tasks: [AbortHandle; 2],
}

/// What the link's tasks know of it.
struct Inner {
    state: Mutex<State>,
    /// Told when there is something to send, or nothing more.
    wake: Notify,
    lost: watch::Sender<bool>,
    shared: Arc<Shared>,
    address: Arc<str>,
    object: String,
    key: Option<Key>,
    limit: usize,
    heartbeat: Duration,
}

impl Link {
    /// Begins to send and to receive.
    pub(crate) fn start(
        session: Session,
        object: String,
        settings: &Settings,
        shared: &Arc<Shared>,
    ) -> Self {
        let Session { reader, writer, buffer, decoder, .. } = session;
        let inner = Arc::new(Inner {
            state: Mutex::new(State::new()),
            wake: Notify::new(),
            lost: watch::Sender::new(false),
            shared: Arc::clone(shared),
            address: settings.address().into(),
            object,
            key: decoder.key.clone(),
            limit: decoder.limit,
            heartbeat: settings.heartbeat,
        });
        let sending = send(Arc::clone(&inner), writer);
        let receiving = receive(Arc::clone(&inner), reader, buffer, decoder);
        Self { inner, tasks: [shared.spawn(sending), shared.spawn(receiving)] }
    }

    /// Calls a method. The request is queued before this returns.
    pub(crate) fn call(
        &self,
        method: &str,
        arguments: &[Argument<'_>],
    ) -> impl Future<Output = Result<Answer>> + Send + use<> {
        let (who, answer) = oneshot::channel();
        let wanted = Wanted::Call(Some(who));
        let data = call::call(&self.inner.object, method, arguments);
        let asked = self.inner.ask(INVOKE, &data, wanted);
        self.inner.result(asked, answer)
    }

    /// Takes a message out of a queue, if it has one. It is held from the moment in which it
    /// arrives. The request is queued before this returns.
    pub(crate) fn take(
        &self,
        queue: &Arc<str>,
    ) -> impl Future<Output = Result<Taken>> + Send + use<> {
        let (who, answer) = oneshot::channel();
        let wanted = Wanted::Take(Arc::clone(queue), Some(who));
        let data = call::call(&self.inner.object, "get", &[Argument::Text(queue)]);
        let asked = self.inner.ask(INVOKE, &data, wanted);
        let result = self.inner.result(asked, answer);
        async move { result.await? }
    }

    /// One round trip.
    pub(crate) async fn ping(&self) -> Result<()> {
        let (who, answer) = oneshot::channel();
        let asked = self.inner.ask(PING, b"ping", Wanted::Ping(Some(who)));
        self.inner.result(asked, answer).await
    }

    /// A message that is held; none if it is not, or not any more.
    pub(crate) fn held(&self, number: u64) -> Option<Held> {
        lock(&self.inner.state).held.get(&number).cloned()
    }

    /// Holds a message no longer; none if it was not held any more.
    pub(crate) fn release(&self, number: u64) -> Option<Held> {
        lock(&self.inner.state).held.remove(&number)
    }

    /// Forgets the messages of a queue.
    pub(crate) fn forget(&self, queue: &str) {
        lock(&self.inner.state).held.retain(|_, held| &*held.queue != queue);
    }

    /// Whether a message can go into a queue: fails if it is too large for a frame.
    pub(crate) fn has_room(&self, queue: &str, data: &[u8]) -> Result<()> {
        let Inner { object, limit, .. } = &*self.inner;
        // Each letter may be written as up to six.
        let size = data.len() + 6 * (queue.len() + object.len()) + 100;
        if size <= *limit {
            return Ok(());
        }
        let message = format!(
            "the message has {} bytes with its envelope, and option max_message_size allows \
             {limit} with the name of the queue",
            data.len()
        );
        Err(Error::new(kombu_core::ErrorKind::InvalidArgument, message))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(crate) fn address(&self) -> &str {
        &self.inner.address
    }

    /// Waits until the link is lost.
    pub(crate) async fn lost(&self) -> Error {
        self.inner.until_lost().await;
        self.inner.why()
    }

    /// Ends the link. What it held was given back before.
    pub(crate) fn close(&self) {
        if lock(&self.inner.state).alive().is_ok() {
            self.inner.lose("the connection is closed".to_owned());
            self.tasks.iter().for_each(AbortHandle::abort);
        }
    }
}

/// Also when connecting is given up half way.
impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    /// Queues a request.
    fn ask(&self, kind: u16, data: &[u8], wanted: Wanted) -> Result<()> {
        let mut state = lock(&self.state);
        state.alive()?;
        state.send(wanted, |number| frame::encode(kind, 0, number, data, self.key.as_ref()));
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The answer to a request that was queued.
    fn result<T: Send>(
        self: &Arc<Self>,
        asked: Result<()>,
        answer: oneshot::Receiver<T>,
    ) -> impl Future<Output = Result<T>> + Send + use<T> {
        let inner = Arc::clone(self);
        async move {
            asked?;
            answer.await.map_err(|_lost| inner.why())
        }
    }

    fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the link is lost. Cancel safe.
    async fn until_lost(&self) {
        let mut lost = self.lost.subscribe();
        let _always_there = lost.wait_for(|lost| *lost).await;
    }

    fn why(&self) -> Error {
        let alive = lock(&self.state).alive();
        alive.err().unwrap_or_else(|| Error::lost("the link broke"))
    }

    /// Gives the link up; what it held is left to the next one.
    fn lose(&self, why: String) {
        {
            let mut state = lock(&self.state);
            if state.lost.is_some() {
                return;
            }
            let held = state.lose(why);
            if !held.is_empty() {
                let count = held.len();
                tracing::info!(count, "messages of a lost link go back with the next one");
            }
            self.shared.leave(&self.address, held);
        }
        self.lost.send_replace(true);
        self.wake.notify_one();
    }

    /// Why a link broke, with what may have been the reason.
    fn explain(&self, error: &Error) -> String {
        let size = lock(&self.state).at_size();
        if size < LARGE {
            return error.message().to_owned();
        }
        format!(
            "{}, while it was sent a message of {size} bytes: if the daemon's configuration \
             MAX_MESSAGE_SIZE is less, set option max_message_size to it",
            error.message()
        )
    }

    /// Gives an answer to who waits for it.
    fn answer(&self, frame: frame::Frame) -> Result<()> {
        let late = lock(&self.state).answer(frame)?;
        self.shared.leave(&self.address, late);
        Ok(())
    }

    /// Looks whether the other side is still there, and says when to look again; none when
    /// nothing can come any more.
    fn look(&self) -> Option<Duration> {
        if let Some(limit) = self.too_silent() {
            self.lose(format!("the daemon has not answered for {limit:?}"));
        }
        let mut state = lock(&self.state);
        if let Some((_, since)) = &state.lost {
            let left = LINGER.saturating_sub(since.elapsed());
            let over = left.is_zero() || !state.expects_messages();
            return (!over).then_some(left);
        }
        if self.heartbeat.is_zero() {
            return Some(LINGER);
        }
        if state.silence().is_none() && state.moved.elapsed() >= self.heartbeat {
            state.send(Wanted::Ping(None), |number| {
                frame::encode(PING, 0, number, b"ping", self.key.as_ref())
            });
            self.wake.notify_one();
        }
        let due = match state.silence() {
            Some(silence) => self.heartbeat * 2 - silence.min(self.heartbeat * 2),
            None => self.heartbeat - state.moved.elapsed().min(self.heartbeat),
        };
        Some(due.min(self.heartbeat).max(Duration::from_millis(1)))
    }

    /// The time that the other side has been silent for too long, if it has.
    fn too_silent(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let limit = self.heartbeat * 2;
        let silent =
            state.lost.is_none() && state.silence().is_some_and(|silence| silence >= limit);
        (silent && !limit.is_zero()).then_some(limit)
    }

    /// The next frame to send; none when there is none now, `Err` when there is none any more.
    fn next(&self) -> Result<Option<Bytes>> {
        let mut state = lock(&self.state);
        state.alive()?;
        Ok(state.out.pop_front())
    }
}

/// Sends requests until the link is lost.
async fn send(inner: Arc<Inner>, writer: impl AsyncWrite + Unpin) {
    let mut writer = BufWriter::with_capacity(PIECE, writer);
    let sending = async {
        while let Ok(next) = inner.next() {
            match next {
                Some(frame) => {
                    for piece in frame.chunks(PIECE) {
                        writer.write_all(piece).await.map_err(broken)?;
                        lock(&inner.state).moved = tokio::time::Instant::now();
                    }
                }
                None => {
                    writer.flush().await.map_err(broken)?;
                    inner.wake.notified().await;
                }
            }
        }
        Ok::<_, Error>(())
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = inner.until_lost() => Ok(()),
    };
    if let Err(error) = sent {
        inner.lose(inner.explain(&error));
    }
    // What was asked for before is still answered by a daemon that is merely slow.
    let _gone = writer.get_mut().shutdown().await;
}

/// Receives answers until the link is lost, and then for a while those that are messages.
async fn receive(
    inner: Arc<Inner>,
    mut reader: impl AsyncRead + Unpin,
    mut buffer: BytesMut,
    decoder: Decoder,
) {
    let received = async {
        loop {
            while let Some(frame) = decoder.decode(&mut buffer)? {
                inner.answer(frame)?;
            }
            let Some(pause) = inner.look() else { return Ok(()) };
            buffer.reserve(PIECE);
            tokio::select! {
                read = reader.read_buf(&mut buffer) => {
                    if read.map_err(broken)? == 0 {
                        return Err(hung_up());
                    }
                    lock(&inner.state).moved = tokio::time::Instant::now();
                }
                () = sleep(pause) => {}
                () = inner.until_lost(), if !inner.is_lost() => {}
            }
        }
    };
    let received: Result<()> = received.await;
    if let Err(error) = received {
        inner.lose(inner.explain(&error));
    }
}

impl Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("address", &self.address)
            .field("object", &self.object)
            .finish_non_exhaustive()
    }
}

/// How much is written or read at a time.
const PIECE: usize = 64 << 10;

/// From which size on a message may be why a daemon closes a link.
const LARGE: usize = 256 << 10;

/// How long messages are waited for that were asked for over a link that is given up.
const LINGER: Duration = Duration::from_secs(300);
