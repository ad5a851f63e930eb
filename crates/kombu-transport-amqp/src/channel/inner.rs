//! What the tasks of a channel share: lapin's channel, its settlements and consumers, its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::poll_immediate;
use kombu_core::transport::{
    Confirm, ConfirmSender, Consume, ConsumerTag, DeliveryTag, Outcome, RawDelivery, Settle,
};
use kombu_core::{Error, ErrorKind, Exchange, ExchangeType, Result, Scope};
use lapin::ExchangeKind;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, BasicRejectOptions,
    ExchangeDeclareOptions,
};
use tokio::sync::{Notify, broadcast, mpsc};
use tokio::task::JoinSet;

use super::Call;
use crate::connection::Shared;
use crate::consumer::{Forwarder, Handle};
use crate::driver::lapin::LapinLink;
use crate::driver::tables::{short, to_lapin};
use crate::error;
use crate::fate::Fate;
use crate::unsettled::{Frame, Unsettled};

/// What the tasks of a channel share.
pub(crate) struct Inner {
    connection: Arc<Shared>,
    link: Arc<LapinLink>,
    control: lapin::Channel,
    fate: Fate,
    closing: Fate,
    settlements: Mutex<Settlements>,
    /// There is something to send.
    wake: Notify,
    /// It is to be sent at once.
    hurry: Notify,
    sending: tokio::sync::Mutex<()>,
    consumers: Mutex<HashMap<ConsumerTag, Handle>>,
    /// The prefetch that the next consumer gets from the broker.
    prefetch: Mutex<Option<u16>>,
}

struct Settlements {
    unsettled: Unsettled,
    confirms: Vec<ConfirmSender>,
}

impl Inner {
    pub(super) fn new(
        connection: Arc<Shared>,
        link: Arc<LapinLink>,
        control: lapin::Channel,
    ) -> Self {
        let settlements = Settlements { unsettled: Unsettled::new(), confirms: Vec::new() };
        Self {
            connection,
            link,
            control,
            fate: Fate::new(),
            closing: Fate::new(),
            settlements: Mutex::new(settlements),
            wake: Notify::new(),
            hurry: Notify::new(),
            sending: tokio::sync::Mutex::new(()),
            consumers: Mutex::default(),
            prefetch: Mutex::new(None),
        }
    }

    pub(crate) fn connection(&self) -> &Arc<Shared> {
        &self.connection
    }

    pub(crate) fn control(&self) -> &lapin::Channel {
        &self.control
    }

    pub(super) fn start_closing(&self) {
        self.closing.decide(Error::closed("channel"));
    }

    /// Resolves when the channel is being closed or is gone.
    pub(crate) async fn closing(&self) {
        self.closing.decided().await;
    }

    pub(super) fn is_gone(&self) -> bool {
        self.fate.is_decided()
    }

    pub(super) async fn lost(&self) -> Error {
        self.fate.decided().await
    }

    /// The channel ends, for the first reason given.
    pub(crate) fn decide(&self, reason: Error) {
        if !self.fate.decide(reason) {
            return;
        }
        self.start_closing();
        let confirms = std::mem::take(&mut self.lock_settlements().confirms);
        for confirm in confirms {
            confirm.answer(Err(error::stale()));
        }
    }

    /// The error of a call on a channel that is gone.
    pub(crate) fn gone(&self) -> Error {
        let reason = self.connection.fate().reason().or_else(|| self.fate.reason());
        match reason {
            Some(reason) if reason.scope() == Scope::Channel => Error::new(
                ErrorKind::Closed,
                format!("the broker closed the channel before: {}", reason.message()),
            )
            .scoped(Scope::Channel)
            .recoverable(true),
            Some(reason) if reason.kind() == ErrorKind::Closed => reason.scoped(Scope::Channel),
            Some(reason) => reason,
            None => error::channel_gone(),
        }
    }

    /// Notes what an error means for the channel.
    pub(crate) fn heard<T>(&self, answer: lapin::Result<T>) -> Result<T> {
        answer.map_err(|error| match error.kind() {
            lapin::ErrorKind::InvalidChannelState(..)
            | lapin::ErrorKind::InvalidChannel(_)
            | lapin::ErrorKind::InvalidConnectionState(_) => self.gone(),
            _ => {
                let error = error::lapin(error);
                if error.scope() != Scope::Local {
                    self.decide(error.duplicate());
                }
                error
            }
        })
    }

    pub(super) async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        let kind = match exchange.kind() {
            ExchangeType::Direct => ExchangeKind::Direct,
            ExchangeType::Fanout => ExchangeKind::Fanout,
            ExchangeType::Headers => ExchangeKind::Headers,
            ExchangeType::Topic => ExchangeKind::Topic,
            other => ExchangeKind::Custom(other.as_str().to_owned()),
        };
        let options = ExchangeDeclareOptions {
            passive: exchange.is_passive(),
            durable: exchange.is_durable(),
            auto_delete: exchange.is_auto_delete(),
            internal: exchange.is_internal(),
            nowait: false,
        };
        let declare = async |channel: &lapin::Channel| {
            let arguments = to_lapin(exchange.arguments());
            channel.exchange_declare(short(exchange.name()), kind.clone(), options, arguments).await
        };
        if !matches!(kind, ExchangeKind::Custom(_)) || exchange.is_passive() {
            return self.heard(declare(&self.control).await);
        }
        // A type that the broker does not know closes the whole connection (503): not this one.
        let scratch = self.connection.connect_control("scratch").await?;
        let channel = scratch.open_channel().await?;
        let declared = declare(&channel).await.map_err(error::lapin);
        let _timeout = scratch.close().await;
        declared.map_err(|error| match error.kind() {
            ErrorKind::Protocol => Error::unsupported("amqp", "exchanges of this type")
                .with("type", exchange.kind())
                .caused_by(error),
            _ => error.scoped(Scope::Local),
        })
    }

    /// Starts a consumer; the forwarder is to be run.
    pub(super) async fn consume(self: Arc<Self>, consume: Consume) -> Result<Forwarder> {
        let Consume { queue, tag, sink, no_ack, exclusive, prefetch, arguments, .. } = consume;
        let wrong = |message| Err(Error::new(ErrorKind::InvalidArgument, message));
        if tag.as_str().is_empty() {
            return wrong("a consumer needs a tag");
        }
        if self.lock_consumers().contains_key(&tag) {
            // The broker would close the whole connection.
            return wrong("the channel has a consumer of this tag already")
                .map_err(|error| error.with("tag", tag));
        }
        if *self.prefetch.lock().unwrap_or_else(PoisonError::into_inner) != Some(prefetch) {
            // Per consumer: it counts for those started from now on. Quorum queues refuse the
            // other kind, which is per channel.
            let options = BasicQosOptions { global: false };
            self.heard(self.control.basic_qos(prefetch, options).await)?;
            *self.prefetch.lock().unwrap_or_else(PoisonError::into_inner) = Some(prefetch);
        }
        let options = BasicConsumeOptions { no_local: false, no_ack, exclusive, nowait: false };
        let consuming = self.control.basic_consume(
            short(&queue),
            short(tag.as_str()),
            options,
            to_lapin(&arguments),
        );
        let consumer = self.heard(consuming.await)?;
        let request = (tag.clone(), queue, sink);
        let (forwarder, handle) = Forwarder::new(Arc::clone(&self), consumer, request, no_ack);
        self.lock_consumers().insert(tag, handle);
        Ok(forwarder)
    }

    /// Takes a consumer off the list: who gets it decides how it ends.
    pub(crate) fn take_consumer(&self, tag: &ConsumerTag) -> Option<Handle> {
        self.lock_consumers().remove(tag)
    }

    /// Records deliveries, before anybody can settle them.
    pub(crate) fn delivered(&self, deliveries: &[RawDelivery], no_ack: bool) {
        let mut settlements = self.lock_settlements();
        for RawDelivery { tag: DeliveryTag(tag), .. } in deliveries {
            if no_ack {
                settlements.unsettled.delivered_settled(*tag);
            } else {
                settlements.unsettled.delivered(*tag);
            }
        }
    }

    pub(crate) fn settle(&self, settle: Settle) -> Result<Confirm> {
        let mut settlements = self.lock_settlements();
        if self.fate.is_decided() {
            return Err(error::stale().during("settle a message"));
        }
        let first = !settlements.unsettled.has_decisions();
        let decisions = settlements
            .unsettled
            .settle(settle)
            .map_err(|error| error.during("settle a message"))?;
        let (confirm, waiting) = Confirm::pair();
        settlements.confirms.push(confirm);
        drop(settlements);
        if first {
            self.wake.notify_one();
        }
        if decisions >= MANY {
            self.hurry.notify_one();
        }
        Ok(waiting)
    }

    pub(super) fn requeue_all(&self) {
        self.lock_settlements().unsettled.settle_all(Outcome::Requeue);
    }

    pub(super) fn hurry(&self) {
        if self.lock_settlements().unsettled.has_decisions() {
            self.hurry.notify_one();
        }
    }

    /// Sends all settlements so far.
    pub(crate) async fn send(&self) {
        let _in_order = self.sending.lock().await;
        let (frames, confirms) = {
            let mut settlements = self.lock_settlements();
            let frames = settlements.unsettled.frames(self.link.has_nack());
            (frames, std::mem::take(&mut settlements.confirms))
        };
        let written = self.write(&frames).await;
        for confirm in confirms {
            confirm.answer(if written.is_ok() { Ok(()) } else { Err(error::stale()) });
        }
    }

    async fn write(&self, frames: &[Frame]) -> lapin::Result<()> {
        let Some((last, others)) = frames.split_last() else {
            return Ok(());
        };
        for frame in others {
            // The first poll puts the frame into the order; the last frame is awaited for all.
            if let Some(written) = poll_immediate(self.write_one(*frame)).await {
                written?;
            }
        }
        self.write_one(*last).await
    }

    async fn write_one(&self, Frame { tag, outcome, multiple }: Frame) -> lapin::Result<()> {
        let requeue = outcome == Outcome::Requeue;
        match outcome {
            Outcome::Ack => self.control.basic_ack(tag, BasicAckOptions { multiple }).await,
            _ if multiple => {
                self.control.basic_nack(tag, BasicNackOptions { multiple, requeue }).await
            }
            _ => self.control.basic_reject(tag, BasicRejectOptions { requeue }).await,
        }
    }

    fn lock_settlements(&self) -> MutexGuard<'_, Settlements> {
        self.settlements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_consumers(&self) -> MutexGuard<'_, HashMap<ConsumerTag, Handle>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs calls one after the other, and notices the channel's end.
pub(super) async fn run_calls(
    inner: Arc<Inner>,
    mut calls: mpsc::Receiver<Call>,
    mut channel_errors: broadcast::Receiver<Arc<Error>>,
) {
    let mut forwarders = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _reason = inner.fate.decided() => break,
            reason = inner.connection.fate().decided() => inner.decide(reason),
            error = channel_errors.recv() => {
                if !inner.control.status().connected() {
                    let error = error.map_or_else(|_| error::channel_gone(), |error| error.duplicate());
                    inner.decide(error);
                }
            }
            Some(_ended) = forwarders.join_next() => {}
            call = calls.recv() => match call {
                Some(call) => {
                    // What was settled before the call is settled, even if the call costs the
                    // channel.
                    inner.send().await;
                    if let Some(forwarder) = call().await {
                        forwarders.spawn(forwarder.run());
                    }
                }
                None => break,
            },
        }
    }
    // Their streams end with the channel.
    drop(calls);
    while forwarders.join_next().await.is_some() {}
}

/// Sends settlements, gathered over a millisecond or until somebody is in a hurry.
pub(super) async fn send_settlements(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.wake.notified() => {}
            _reason = inner.fate.decided() => return,
        }
        tokio::select! {
            () = inner.hurry.notified() => {}
            () = tokio::time::sleep(GATHER) => {}
        }
        inner.send().await;
    }
}

/// How long settlements are gathered.
const GATHER: Duration = Duration::from_millis(1);
/// So many settlements are sent without waiting for more.
const MANY: usize = 128;
