//! Publishing through lapin.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::transport::Publish;
use kombu_core::{Error, Result};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::driver::lapin::LapinLink;
use crate::driver::tables::{properties_to_lapin, short};
use crate::driver::{PublishChannel, PublishLink};
use crate::error;
use crate::fate::Fate;
use crate::ledger::{Entry, Ledger, Returned};

#[async_trait]
impl PublishLink for LapinLink {
    async fn open(&self, ledger: Arc<Ledger>) -> Result<Box<dyn PublishChannel>> {
        let channel = self.open_channel().await?;
        Ok(Box::new(LapinPublisher::new(channel, ledger, Ownership::Own).await?))
    }

    fn fate(&self) -> &Arc<Fate> {
        self.fate()
    }

    fn is_used_up(&self) -> bool {
        self.is_used_up()
    }

    fn cut(&self) {
        self.cut();
    }

    async fn close(&self) {
        let _timeout = self.close().await;
    }
}

/// Whether a publisher closes its channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ownership {
    Own,
    Borrowed,
}

/// A channel in confirm mode.
pub(crate) struct LapinPublisher {
    channel: Channel,
    ledger: Arc<Ledger>,
    ownership: Ownership,
    confirms: mpsc::UnboundedSender<(u64, PublisherConfirm)>,
    task: JoinHandle<()>,
}

impl LapinPublisher {
    pub(crate) async fn new(
        channel: Channel,
        ledger: Arc<Ledger>,
        ownership: Ownership,
    ) -> Result<Self> {
        let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
        selected.map_err(error::lapin)?;
        // Bounded by the window of publishes in flight.
        let (confirms, waiting) = mpsc::unbounded_channel();
        let task = tokio::spawn(watch(waiting, Arc::clone(&ledger)));
        Ok(Self { channel, ledger, ownership, confirms, task })
    }

    /// Sends the first so many messages together; each gets its place in the order at the first
    /// poll.
    async fn send_first(&self, entries: &mut Vec<Entry>, count: usize) -> Result<()> {
        let mut numbers = Vec::with_capacity(count);
        let mut publishes = Vec::with_capacity(count);
        let mut unsent = Vec::new();
        for entry in entries.drain(..count) {
            let publish = Arc::clone(&entry.publish);
            match self.ledger.enter(entry) {
                Ok(number) => {
                    numbers.push(number);
                    publishes.push(self.send_one(publish));
                }
                Err(entry) => unsent.push(entry),
            }
        }
        let mut failure = (!unsent.is_empty()).then(error::channel_gone);
        for (number, sent) in numbers.into_iter().zip(join_all(publishes).await) {
            match sent {
                Ok(confirm) => {
                    let _ended = self.confirms.send((number, confirm));
                }
                Err(error) => {
                    // lapin knew that the channel is gone, and sent nothing.
                    let refused = matches!(
                        error.kind(),
                        lapin::ErrorKind::InvalidChannelState(..)
                            | lapin::ErrorKind::InvalidChannel(_)
                    );
                    unsent.extend(refused.then(|| self.ledger.take_back(number)).flatten());
                    failure = Some(error::lapin(error));
                }
            }
        }
        entries.splice(0..0, unsent);
        match failure {
            None => Ok(()),
            Some(error) => {
                self.ledger.fail(&error);
                Err(error)
            }
        }
    }

    async fn send_one(&self, publish: Arc<Publish>) -> lapin::Result<PublisherConfirm> {
        let options = BasicPublishOptions { mandatory: publish.mandatory, immediate: false };
        let sent = self.channel.basic_publish(
            short(&publish.exchange),
            short(&publish.routing_key),
            options,
            &publish.message.body,
            properties_to_lapin(&publish.message.properties),
        );
        sent.await
    }
}

#[async_trait]
impl PublishChannel for LapinPublisher {
    async fn send(&mut self, entries: &mut Vec<Entry>) -> Result<()> {
        while !entries.is_empty() {
            // lapin gives a returned message to whatever confirm comes next, hence mandatory
            // ones go alone.
            let mandatory = entries.iter().position(|entry| entry.publish.mandatory);
            let count = mandatory.unwrap_or(entries.len()).min(TOGETHER);
            if count > 0 {
                self.send_first(entries, count).await?;
                continue;
            }
            self.ledger.empty().await;
            if self.ledger.is_gone() {
                return Err(error::channel_gone());
            }
            self.send_first(entries, 1).await?;
            self.ledger.empty().await;
        }
        Ok(())
    }

    async fn close(&mut self) {
        if self.ownership == Ownership::Own {
            let _already_closed = self.channel.close(REPLY_SUCCESS, "closed".into()).await;
        }
    }
}

impl Drop for LapinPublisher {
    fn drop(&mut self) {
        self.task.abort();
        self.ledger.fail(&Error::lost("the channel was closed before the broker answered"));
    }
}

/// Passes confirms on, in the order of publishing.
async fn watch(
    mut confirms: mpsc::UnboundedReceiver<(u64, PublisherConfirm)>,
    ledger: Arc<Ledger>,
) {
    while let Some((number, confirm)) = confirms.recv().await {
        match confirm.await {
            Ok(Confirmation::Ack(returned)) => {
                if let Some(message) = returned {
                    ledger.returned(&Returned {
                        code: message.reply_code,
                        text: message.reply_text.as_str(),
                        exchange: message.exchange.as_str(),
                        routing_key: message.routing_key.as_str(),
                        body: &message.data,
                    });
                }
                ledger.acked(number, false);
            }
            Ok(Confirmation::Nack(_)) => ledger.nacked(number, false),
            Ok(Confirmation::NotRequested) => ledger.acked(number, false),
            Err(error) => ledger.fail(&error::lapin(error)),
        }
    }
}

const REPLY_SUCCESS: u16 = 200;
/// `join_all` polls this many in order.
const TOGETHER: usize = 30;
