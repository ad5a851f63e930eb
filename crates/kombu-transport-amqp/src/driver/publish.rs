//! Publishing through lapin.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
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

    /// Sends messages together; each gets its place in the order at the first poll.
    async fn send_all(&self, entries: impl Iterator<Item = Entry>) -> Result<()> {
        let mut numbers = Vec::new();
        let publishes: Vec<_> = entries
            .map(|entry| {
                let publish = Arc::clone(&entry.publish);
                numbers.push(self.ledger.enter(entry));
                let channel = &self.channel;
                async move {
                    let options =
                        BasicPublishOptions { mandatory: publish.mandatory, immediate: false };
                    let sent = channel.basic_publish(
                        short(&publish.exchange),
                        short(&publish.routing_key),
                        options,
                        &publish.message.body,
                        properties_to_lapin(&publish.message.properties),
                    );
                    sent.await
                }
            })
            .collect();
        for (number, sent) in numbers.into_iter().zip(join_all(publishes).await) {
            match sent {
                Ok(confirm) => {
                    let _ended = self.confirms.send((number, confirm));
                }
                Err(error) => {
                    let error = error::lapin(error);
                    self.ledger.fail(&error);
                    return Err(error);
                }
            }
        }
        Ok(())
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
                self.send_all(entries.drain(..count)).await?;
                continue;
            }
            self.ledger.empty().await;
            if self.ledger.is_gone() {
                return Err(error::channel_gone());
            }
            self.send_all(entries.drain(..1)).await?;
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
