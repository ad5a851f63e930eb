//! A consumer and its window.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use kombu_core::transport::{Consume, ConsumerTag, Sink};

use crate::dead_letter::DeadLetters;
use crate::lock::lock;
use crate::presence::Ticket;
use crate::store::Claimed;

/// A consumer of one queue on one channel.
#[derive(Debug)]
pub(crate) struct Consumer<R> {
    pub(crate) tag: ConsumerTag,
    pub(crate) queue: Arc<str>,
    pub(crate) sink: Sink,
    pub(crate) no_ack: bool,
    pub(crate) letters: Option<Arc<DeadLetters>>,
    pub(crate) ticket: Ticket,
    /// The most unsettled messages; `None` without limit.
    prefetch: Option<usize>,
    /// How many are claimed and not settled, those in the backlog included.
    outstanding: AtomicUsize,
    window: AtomicU8,
    /// When a window that opened a little is used all the same.
    linger_until: Mutex<Option<Instant>>,
    gone: AtomicBool,
    /// Claimed and not yet delivered, because the sink had no room.
    pub(crate) backlog: Mutex<Vec<Claimed<R>>>,
}

/// Whether the fetch loop can claim for a consumer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Window {
    /// So many messages.
    Open(usize),
    /// None until messages are settled.
    Full,
    /// Too few to be worth a claim, until then.
    Lingering(Instant),
}

impl<R> Consumer<R> {
    pub(crate) fn new(consume: Consume, letters: Option<Arc<DeadLetters>>, ticket: Ticket) -> Self {
        let prefetch = usize::from(consume.prefetch);
        Self {
            tag: consume.tag,
            queue: consume.queue,
            sink: consume.sink,
            no_ack: consume.no_ack,
            letters,
            ticket,
            prefetch: (prefetch > 0 && !consume.no_ack).then_some(prefetch),
            outstanding: AtomicUsize::new(0),
            window: AtomicU8::new(OPEN),
            linger_until: Mutex::new(None),
            gone: AtomicBool::new(false),
            backlog: Mutex::new(Vec::new()),
        }
    }

    /// How many more messages it may have.
    pub(crate) fn room(&self) -> usize {
        let outstanding = self.outstanding.load(Ordering::SeqCst);
        self.prefetch.map_or(usize::MAX, |prefetch| prefetch.saturating_sub(outstanding))
    }

    /// Looks whether to claim for it. After a full window the next claim waits until a quarter of
    /// it is free again, or a millisecond: so that acknowledging one by one does not mean claiming
    /// one by one.
    pub(crate) fn look(&self) -> Window {
        let before = self.window.load(Ordering::SeqCst);
        // Said first and checked then, so that no settlement goes unnoticed in between.
        self.window.store(FULL, Ordering::SeqCst);
        let room = self.room();
        if room == 0 {
            *lock(&self.linger_until) = None;
            return Window::Full;
        }
        if before != OPEN && room < self.worth() {
            let now = Instant::now();
            let until = *lock(&self.linger_until).get_or_insert(now + LINGER);
            if now < until {
                self.window.store(LINGERING, Ordering::SeqCst);
                // A settlement may have come before the line above.
                if self.room() < self.worth() {
                    return Window::Lingering(until);
                }
            }
        }
        *lock(&self.linger_until) = None;
        self.window.store(OPEN, Ordering::SeqCst);
        Window::Open(room)
    }

    /// Counts claimed messages.
    pub(crate) fn claimed(&self, count: usize) {
        self.outstanding.fetch_add(count, Ordering::SeqCst);
    }

    /// Counts messages that are settled or given back; true when the fetch loop should know.
    pub(crate) fn released(&self, count: usize) -> bool {
        self.outstanding.fetch_sub(count, Ordering::SeqCst);
        match self.window.load(Ordering::SeqCst) {
            FULL => self.nudge(FULL),
            LINGERING if self.room() >= self.worth() => self.nudge(LINGERING),
            _ => false,
        }
    }

    /// Makes the loop claim whatever there is room for; true when it should know.
    pub(crate) fn hurry(&self) -> bool {
        self.room() > 0 && self.window.swap(OPEN, Ordering::SeqCst) != OPEN
    }

    /// Ends it: nothing is delivered from here on. True the first time.
    pub(crate) fn leave(&self) -> bool {
        // The lock is the one under which deliveries are made.
        let _no_delivery_now = lock(&self.backlog);
        !self.gone.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// The room that is worth a claim after the window was full.
    fn worth(&self) -> usize {
        self.prefetch.map_or(1, |prefetch| (prefetch / 4).max(1))
    }

    /// Says once that the window changed.
    fn nudge(&self, from: u8) -> bool {
        self.window.compare_exchange(from, NUDGED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

const OPEN: u8 = 0;
const FULL: u8 = 1;
const LINGERING: u8 = 2;
const NUDGED: u8 = 3;

const LINGER: Duration = Duration::from_millis(1);
