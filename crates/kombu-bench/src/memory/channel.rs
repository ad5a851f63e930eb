//! What a program would write without a library: a bounded channel, and a map of what is not
//! acknowledged yet, which whoever handles a message can reach.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// One task sends, one receives.
#[derive(Debug)]
pub(super) struct TwoTasks;

#[async_trait]
impl Contender for TwoTasks {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (sender, mut receiver) = mpsc::channel(usize::from(work.prefetch));
        let mut unacked = Unacked::default();
        let meter = work.meter();
        let (body, count) = (work.body.bytes.clone(), work.count);
        let producing = tokio::spawn(async move {
            for _ in 0..count {
                sender.send(Bytes::copy_from_slice(&body)).await?;
            }
            Ok::<_, mpsc::error::SendError<Bytes>>(())
        });
        for _ in 0..count {
            unacked.handle(receiver.recv().await, work)?;
        }
        producing.await??;
        let sample = meter.stop(count);
        ensure!(unacked.is_empty(), "something was not acknowledged");
        Ok(sample)
    }
}

/// One task sends a few and receives them.
#[derive(Debug)]
pub(super) struct OneTask;

#[async_trait]
impl Contender for OneTask {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (sender, mut receiver) = mpsc::channel(usize::from(work.prefetch));
        let mut unacked = Unacked::default();
        let window = u64::try_from(work.window)?;
        let meter = work.meter();
        let mut left = work.count;
        while left > 0 {
            let now = left.min(window);
            for _ in 0..now {
                sender.send(Bytes::copy_from_slice(&work.body.bytes)).await?;
            }
            for _ in 0..now {
                unacked.handle(receiver.recv().await, work)?;
            }
            left -= now;
        }
        let sample = meter.stop(work.count);
        ensure!(unacked.is_empty(), "something was not acknowledged");
        Ok(sample)
    }
}

/// Messages that were received and not acknowledged.
#[derive(Debug, Default)]
struct Unacked {
    last_tag: u64,
    messages: Arc<Mutex<HashMap<u64, Bytes>>>,
}

impl Unacked {
    /// Takes a message in.
    fn deliver(&mut self, message: Option<Bytes>) -> Result<Delivery> {
        let body = message.context("the sender is gone")?;
        self.last_tag += 1;
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.insert(self.last_tag, body.clone());
        Ok(Delivery { body, tag: self.last_tag, messages: Arc::clone(&self.messages) })
    }

    /// Takes a message in, and acknowledges it.
    fn handle(&mut self, message: Option<Bytes>, work: &Work) -> Result<()> {
        let delivery = self.deliver(message)?;
        work.check(&delivery.body)?;
        delivery.ack()
    }

    fn is_empty(&self) -> bool {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A message that was received.
#[derive(Debug)]
struct Delivery {
    body: Bytes,
    tag: u64,
    messages: Arc<Mutex<HashMap<u64, Bytes>>>,
}

impl Delivery {
    fn ack(self) -> Result<()> {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.remove(&self.tag).map(drop).context("an unknown tag")
    }
}

/// What tables call it.
pub(super) const NAME: &str = "tokio channel and map";
