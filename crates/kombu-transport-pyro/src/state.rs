//! What a link waits for, has to send, and holds. One lock guards all of it, so that a message is
//! at any time in one place only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use kombu_core::{Error, ErrorKind, Result, Scope};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use crate::call::{self, Answer};
use crate::frame::{Frame, PING};
use crate::shared::Held;

/// The number of a held message and its envelope; none if the queue was empty.
pub(crate) type Taken = Option<(u64, Bytes)>;

/// The state of a link.
#[derive(Debug)]
pub(crate) struct State {
    /// Why the link is lost, if it is, and since when.
    pub(crate) lost: Option<(String, Instant)>,
    /// The requests that were not answered yet, in the order in which they will be.
    pub(crate) waiting: VecDeque<Waiting>,
    /// What is to be sent.
    pub(crate) out: VecDeque<Bytes>,
    /// The messages that were taken and not settled, by their numbers.
    pub(crate) held: BTreeMap<u64, Held>,
    /// When something last went over the link, in either direction.
    pub(crate) moved: Instant,
    number: u16,
    next: u64,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    number: u16,
    since: Instant,
    size: usize,
    wanted: Wanted,
}

/// Who wants the answer; a sender is gone when nobody does any more.
#[derive(Debug)]
pub(crate) enum Wanted {
    Call(Option<oneshot::Sender<Answer>>),
    Ping(Option<oneshot::Sender<()>>),
    Take(Arc<str>, Option<oneshot::Sender<Result<Taken>>>),
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            lost: None,
            waiting: VecDeque::new(),
            out: VecDeque::new(),
            held: BTreeMap::new(),
            moved: Instant::now(),
            number: 0,
            next: 0,
        }
    }

    /// Fails when the link is lost.
    pub(crate) fn alive(&self) -> Result<()> {
        self.lost.as_ref().map_or(Ok(()), |(why, _)| Err(Error::lost(why.clone())))
    }

    /// Queues a request, which is written with the number that it gets.
    pub(crate) fn send(&mut self, wanted: Wanted, write: impl FnOnce(u16) -> Bytes) {
        let number = self.number;
        self.number = number.wrapping_add(1);
        let frame = write(number);
        let size = frame.len();
        self.waiting.push_back(Waiting { number, since: Instant::now(), size, wanted });
        self.out.push_back(frame);
    }

    /// Gives an answer to who waits for it. A message that comes after the link was given up is
    /// returned.
    pub(crate) fn answer(&mut self, frame: Frame) -> Result<Option<Held>> {
        self.moved = Instant::now();
        let wrong = |message: String| {
            Err(Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection))
        };
        let Some(Waiting { number, wanted, .. }) = self.waiting.pop_front() else {
            return wrong(format!("a frame of type {} that nobody asked for", frame.kind));
        };
        if number != frame.number {
            return wrong(format!("an answer to request {} before that to {number}", frame.number));
        }
        match wanted {
            Wanted::Ping(who) => {
                if frame.kind != PING {
                    return wrong(format!("the answer to a ping is of type {}", frame.kind));
                }
                tell(who, ());
            }
            Wanted::Call(who) => tell(who, call::answer(frame)?),
            Wanted::Take(queue, who) => match call::answer(frame)? {
                Ok(data) => {
                    // The frame may be a small part of what was read with it.
                    let data = Bytes::copy_from_slice(&data);
                    let held = Held { queue, data: data.clone() };
                    if self.lost.is_some() {
                        return Ok(Some(held));
                    }
                    self.next += 1;
                    self.held.insert(self.next, held);
                    tell(who, Ok(Some((self.next, data))));
                }
                Err(refusal) if refusal.is_empty() || refusal.is_missing() => tell(who, Ok(None)),
                Err(refusal) => tell(who, Err(refusal.into_error())),
            },
        }
        Ok(None)
    }

    /// Notes that the link is lost, and returns what it held. Those who wait learn it; what was
    /// asked for is still answered, perhaps.
    pub(crate) fn lose(&mut self, why: String) -> Vec<Held> {
        self.lost = Some((why, Instant::now()));
        self.out.clear();
        for waiting in &mut self.waiting {
            match &mut waiting.wanted {
                Wanted::Call(who) => drop(who.take()),
                Wanted::Ping(who) => drop(who.take()),
                Wanted::Take(_, who) => drop(who.take()),
            }
        }
        std::mem::take(&mut self.held).into_values().collect()
    }

    /// Whether messages may come that were asked for.
    pub(crate) fn expects_messages(&self) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting.wanted, Wanted::Take(..)))
    }

    /// How long the oldest request waits while nothing moves, as far as the link is asked
    /// anything.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let since = self.waiting.front()?.since.max(self.moved);
        Some(since.elapsed())
    }

    /// The bytes of the request that the other side is at.
    pub(crate) fn at_size(&self) -> usize {
        self.waiting.front().map_or(0, |waiting| waiting.size)
    }
}

fn tell<T>(who: Option<oneshot::Sender<T>>, answer: T) {
    if let Some(who) = who {
        let _nobody_waits = who.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{EXCEPTION, JSON, RESULT};

    fn frame(number: u16, flags: u16, data: &'static str) -> Frame {
        Frame { kind: RESULT, flags, number, serializer: JSON, data: data.into() }
    }

    fn take(state: &mut State) -> oneshot::Receiver<Result<Taken>> {
        let (who, answer) = oneshot::channel();
        state.send(Wanted::Take("q".into(), Some(who)), |_number| Bytes::from_static(b"frame"));
        answer
    }

    #[tokio::test]
    async fn a_message_is_held_until_it_is_settled_or_the_link_is_lost() {
        let mut state = State::new();
        let answer = take(&mut state);
        assert!(state.answer(frame(0, 0, "{}")).unwrap().is_none());
        assert_eq!(answer.await.unwrap().unwrap(), Some((1, "{}".into())));
        assert_eq!(state.lose("gone".to_owned()).len(), 1);
        assert!(state.held.is_empty());
        assert!(state.alive().unwrap_err().to_string().contains("gone"));
    }

    #[tokio::test]
    async fn a_message_that_comes_too_late_is_not_lost() {
        let mut state = State::new();
        let answer = take(&mut state);
        assert!(state.expects_messages());
        assert!(state.lose("gone".to_owned()).is_empty());
        assert!(answer.await.is_err());
        let held = state.answer(frame(0, 0, "{\"body\": 1}")).unwrap().unwrap();
        assert_eq!((&*held.queue, &held.data[..]), ("q", &b"{\"body\": 1}"[..]));
        assert!(!state.expects_messages());
    }

    #[tokio::test]
    async fn a_message_that_nobody_waits_for_is_held_all_the_same() {
        let mut state = State::new();
        drop(take(&mut state));
        assert!(state.answer(frame(0, 0, "{}")).unwrap().is_none());
        assert_eq!(state.held.len(), 1);
    }

    #[tokio::test]
    async fn empty_and_missing_queues_have_no_messages() {
        let mut state = State::new();
        for (number, class) in [
            (0, r#"{"__class__": "_queue.Empty"}"#),
            (1, r#"{"__class__": "queue.Empty"}"#),
            (2, r#"{"__class__": "builtins.KeyError"}"#),
        ] {
            let answer = take(&mut state);
            state.answer(frame(number, EXCEPTION, class)).unwrap();
            assert_eq!(answer.await.unwrap().unwrap(), None);
        }
        assert!(state.held.is_empty());
    }

    #[tokio::test]
    async fn answers_out_of_order_break_the_protocol() {
        let mut state = State::new();
        assert!(state.answer(frame(0, 0, "1")).is_err());
        let _first = take(&mut state);
        let _second = take(&mut state);
        let error = state.answer(frame(1, 0, "1")).unwrap_err();
        assert_eq!((error.kind(), error.scope()), (ErrorKind::Protocol, Scope::Connection));
    }
}
