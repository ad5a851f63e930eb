//! The publishes of one channel that await their confirm.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kombu_core::transport::{ConfirmSender, Publish};
use kombu_core::{Error, ErrorKind, Scope};
use tokio::sync::Notify;

/// A publish on its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) publish: Arc<Publish>,
    pub(crate) confirm: ConfirmSender,
}

/// A message that no queue took (`basic.return`), less what does not tell it from others.
#[derive(Debug)]
pub(crate) struct Returned<'a> {
    pub(crate) code: u16,
    pub(crate) text: &'a str,
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) body: &'a [u8],
}

/// Publishes in flight on one channel, numbered from 1 as the broker numbers them.
#[derive(Debug)]
pub(crate) struct Ledger {
    inner: Mutex<Inner>,
    /// Told when the number in flight shrinks.
    settled: Notify,
}

#[derive(Debug)]
struct Inner {
    /// The number of the first entry.
    first: u64,
    /// Answered ones are `None`.
    entries: VecDeque<Option<Flight>>,
    in_flight: usize,
    /// How many were answered so far.
    answered: u64,
    /// All mandatory publishes up to this number have been routed or returned.
    returned: u64,
    /// Set when the channel is gone.
    gone: bool,
    /// How many publishes died with the channel without knowing whose fault it was.
    suspects: usize,
}

#[derive(Debug)]
struct Flight {
    entry: Entry,
    returned: Option<Error>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                first: 1,
                entries: VecDeque::new(),
                in_flight: 0,
                answered: 0,
                returned: 0,
                gone: false,
                suspects: 0,
            }),
            settled: Notify::new(),
        }
    }

    /// Enters a publish, in the order of sending; answers its number.
    ///
    /// # Errors
    ///
    /// The entry, when the channel is gone.
    pub(crate) fn enter(&self, entry: Entry) -> Result<u64, Entry> {
        let mut inner = self.lock();
        if inner.gone {
            return Err(entry);
        }
        inner.entries.push_back(Some(Flight { entry, returned: None }));
        inner.in_flight += 1;
        Ok(inner.first + inner.entries.len() as u64 - 1)
    }

    /// Takes an entry back that was not sent after all, unless it was answered.
    pub(crate) fn take_back(&self, number: u64) -> Option<Entry> {
        let mut inner = self.lock();
        let index = usize::try_from(number.checked_sub(inner.first)?).ok()?;
        let flight = inner.entries.get_mut(index)?.take()?;
        inner.in_flight -= 1;
        Some(flight.entry)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.lock().in_flight
    }

    /// How many publishes were answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.lock().answered
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// How many publishes the channel's end hit that may have caused it. They are to be sent one
    /// by one, so that the next such end has a culprit.
    pub(crate) fn suspects(&self) -> usize {
        self.lock().suspects
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn empty(&self) {
        self.below(1).await;
    }

    /// Waits until fewer than `limit` are in flight.
    pub(crate) async fn below(&self, limit: usize) {
        loop {
            let settled = self.settled.notified();
            if self.in_flight() < limit {
                return;
            }
            settled.await;
        }
    }

    /// The broker has taken responsibility for a publish, or for all up to it.
    pub(crate) fn acked(&self, number: u64, multiple: bool) {
        self.answer(number, multiple, |flight| {
            flight.entry.confirm.answer(flight.returned.map_or(Ok(()), Err));
        });
    }

    /// The broker refuses a publish, or all up to it.
    pub(crate) fn nacked(&self, number: u64, multiple: bool) {
        self.answer(number, multiple, |flight| {
            let refused = Error::new(
                ErrorKind::Nacked,
                "the broker refused the message; its queue is full, or could not store it",
            );
            flight.entry.confirm.answer(Err(during(refused, &flight.entry.publish)));
        });
    }

    /// The broker sent a message back. The confirm that follows is then an error.
    ///
    /// The broker routes in the order of publishing and returns while it routes, so this is the
    /// first mandatory publish after the one returned before that looks the same. Only between
    /// publishes alike in exchange, key and body can it be taken for the other one.
    pub(crate) fn returned(&self, returned: &Returned<'_>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let after = inner.returned;
        let found = (inner.first..).zip(&mut inner.entries).find_map(|(number, slot)| {
            let flight = slot.as_mut().filter(|_| number > after)?;
            is_same(&flight.entry.publish, returned).then_some((number, flight))
        });
        let Some((number, flight)) = found else {
            tracing::warn!(?returned, "the broker returned a message that is not in flight");
            return;
        };
        let unroutable = Error::new(
            ErrorKind::Unroutable,
            format!("no queue takes the message: {}", returned.text),
        )
        .with("code", returned.code);
        flight.returned = Some(during(unroutable, &flight.entry.publish));
        inner.returned = number;
    }

    /// The channel is gone: the broker closed it because of one of the publishes, or the link
    /// broke.
    pub(crate) fn fail(&self, reason: &Error) {
        let mut inner = self.lock();
        if inner.gone {
            return;
        }
        inner.gone = true;
        inner.in_flight = 0;
        let flights: Vec<_> = std::mem::take(&mut inner.entries).into_iter().flatten().collect();
        let is_link = reason.scope() == Scope::Connection;
        let guilty = |flight: &Flight| {
            let exchange = &flight.entry.publish.exchange;
            !is_link
                && (flights.len() == 1
                    || !exchange.is_empty() && reason.message().contains(&format!("'{exchange}'")))
        };
        let guilt: Vec<bool> = flights.iter().map(guilty).collect();
        if !is_link && !guilt.contains(&true) {
            inner.suspects = flights.len();
        }
        drop(inner);
        for (flight, guilty) in flights.into_iter().zip(guilt) {
            let error = if guilty {
                // Publishes have a channel of their own: the caller's lives on.
                reason.duplicate().scoped(Scope::Local)
            } else if is_link {
                reason.duplicate()
            } else {
                Error::new(
                    ErrorKind::ConnectionLost,
                    format!(
                        "another publish made the broker close the channel before it answered \
                         this one: {}",
                        reason.message()
                    ),
                )
            };
            flight.entry.confirm.answer(Err(during(error, &flight.entry.publish)));
        }
        self.settled.notify_waiters();
    }

    fn answer(&self, number: u64, multiple: bool, answer: impl Fn(Flight)) {
        let mut inner = self.lock();
        let Some(index) =
            number.checked_sub(inner.first).and_then(|index| usize::try_from(index).ok())
        else {
            return;
        };
        let Some(slot) = inner.entries.get_mut(index) else {
            return;
        };
        let mut answered = Vec::from_iter(slot.take());
        if multiple {
            answered.splice(0..0, inner.entries.drain(..=index).flatten());
            inner.first = number + 1;
        }
        while let Some(None) = inner.entries.front() {
            inner.entries.pop_front();
            inner.first += 1;
        }
        inner.in_flight -= answered.len();
        inner.answered += answered.len() as u64;
        drop(inner);
        answered.into_iter().for_each(answer);
        self.settled.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(publish: &Publish, returned: &Returned<'_>) -> bool {
    let body: &Bytes = &publish.message.body;
    publish.mandatory
        && publish.exchange == returned.exchange
        && publish.routing_key == returned.routing_key
        && body == returned.body
}

fn during(error: Error, publish: &Publish) -> Error {
    error
        .during("publish")
        .with("exchange", &publish.exchange)
        .with("routing_key", &publish.routing_key)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use kombu_core::Message;
    use kombu_core::transport::Confirm;

    use super::*;

    fn enter(ledger: &Ledger, exchange: &str, body: &'static str, mandatory: bool) -> Confirm {
        let mut message = Message::default();
        message.body = Bytes::from_static(body.as_bytes());
        let mut publish = Publish::new(exchange, "key", message);
        publish.mandatory = mandatory;
        let (confirm, waiting) = Confirm::pair();
        ledger.enter(Entry { publish: Arc::new(publish), confirm }).expect("it is not gone");
        waiting
    }

    fn kind(confirm: Confirm) -> Option<ErrorKind> {
        confirm.now_or_never().expect("answered").err().map(|error| error.kind())
    }

    fn returned(ledger: &Ledger, body: &str) {
        ledger.returned(&Returned {
            code: 312,
            text: "NO_ROUTE",
            exchange: "x",
            routing_key: "key",
            body: body.as_bytes(),
        });
    }

    #[test]
    fn confirms_find_their_publish_in_any_order() {
        let ledger = Ledger::new();
        let mut confirms: Vec<_> = (0..6).map(|_| Some(enter(&ledger, "x", "", false))).collect();
        ledger.acked(2, false);
        ledger.nacked(3, false);
        assert_eq!(ledger.in_flight(), 4);
        assert_eq!(kind(confirms[1].take().unwrap()), None);
        assert_eq!(kind(confirms[2].take().unwrap()), Some(ErrorKind::Nacked));
        assert!(confirms[0].as_mut().unwrap().now_or_never().is_none());
        ledger.acked(5, true);
        for index in [0, 3, 4] {
            assert_eq!(kind(confirms[index].take().unwrap()), None, "{index}");
        }
        assert_eq!(ledger.in_flight(), 1);
        // A number that is not in flight is no harm.
        ledger.acked(5, true);
        ledger.acked(99, false);
        ledger.acked(6, false);
        assert_eq!(kind(confirms[5].take().unwrap()), None);
        assert_eq!(ledger.in_flight(), 0);
    }

    #[test]
    fn a_returned_message_fails_its_own_confirm() {
        let ledger = Ledger::new();
        let a = enter(&ledger, "x", "a", true);
        let optional = enter(&ledger, "x", "b", false);
        let b = enter(&ledger, "x", "b", true);
        let c = enter(&ledger, "x", "c", true);
        let b_again = enter(&ledger, "x", "b", true);
        returned(&ledger, "b");
        ledger.acked(1, false);
        returned(&ledger, "b");
        ledger.acked(5, true);
        assert_eq!(kind(a), None);
        assert_eq!(kind(optional), None);
        assert_eq!(kind(b), Some(ErrorKind::Unroutable));
        assert_eq!(kind(c), None);
        assert_eq!(kind(b_again), Some(ErrorKind::Unroutable));
    }

    #[test]
    fn a_closed_channel_blames_the_publish_that_closed_it() {
        let ledger = Ledger::new();
        let innocent = enter(&ledger, "x", "", false);
        let culprit = enter(&ledger, "nosuch", "", false);
        let reason = crate::error::reply(404, "NOT_FOUND - no exchange 'nosuch' in vhost '/'");
        ledger.fail(&reason);
        let error = innocent.now_or_never().unwrap().unwrap_err();
        assert!(error.is_recoverable(), "{error}");
        assert_eq!(error.scope(), Scope::Local);
        let error = culprit.now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.scope()), (ErrorKind::NotFound, Scope::Local));
        assert!(ledger.is_gone());
        assert_eq!(ledger.suspects(), 0);
    }

    #[test]
    fn without_a_culprit_all_are_suspects() {
        let ledger = Ledger::new();
        let confirms = [enter(&ledger, "x", "", false), enter(&ledger, "x", "", false)];
        ledger.fail(&crate::error::reply(406, "PRECONDITION_FAILED - invalid expiration"));
        assert_eq!(ledger.suspects(), 2);
        for confirm in confirms {
            assert!(confirm.now_or_never().unwrap().unwrap_err().is_recoverable());
        }
        let alone = Ledger::new();
        let confirm = enter(&alone, "x", "", false);
        alone.fail(&crate::error::reply(406, "PRECONDITION_FAILED - invalid expiration"));
        assert_eq!(kind(confirm), Some(ErrorKind::PreconditionFailed));
    }
}
