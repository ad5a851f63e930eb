//! amqprs, without anything around it but the counting of confirms that it leaves to its user.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error as AmqprsError;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};

use super::parse;
use crate::case::Contender;
use crate::sample::Sample;
use crate::work::Work;

/// Publishes in the obvious loop, confirms counted by a callback.
#[derive(Debug)]
pub(super) struct Publisher;

#[async_trait]
impl Contender for Publisher {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        let confirms = confirm(&channel).await?;
        let (properties, arguments) = (persistent(), BasicPublishArguments::new("", &work.queue));
        let window = u64::try_from(work.window)?;
        let meter = work.meter();
        for sent in 0..work.count {
            confirms.reached((sent + 1).saturating_sub(window)).await?;
            let body = work.body.bytes.to_vec();
            channel.basic_publish(properties.clone(), body, arguments.clone()).await?;
        }
        confirms.reached(work.count).await?;
        let sample = meter.stop(work.count);
        channel.close().await?;
        connection.close().await?;
        Ok(sample)
    }
}

/// Consumes and acknowledges each delivery.
#[derive(Debug)]
pub(super) struct Consumer;

#[async_trait]
impl Contender for Consumer {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        let meter = work.meter();
        consume(&channel, work).await?;
        channel.close().await?;
        let sample = meter.stop(work.count);
        connection.close().await?;
        Ok(sample)
    }
}

/// Publishes one message at a time and receives it.
#[derive(Debug)]
pub(super) struct RoundTrip;

#[async_trait]
impl Contender for RoundTrip {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let (connection, channel) = connect(&work.url).await?;
        let confirms = confirm(&channel).await?;
        let (properties, arguments) = (persistent(), BasicPublishArguments::new("", &work.queue));
        let mut messages = subscribe(&channel, work).await?;
        let mut latencies = Vec::new();
        let meter = work.meter();
        for number in 1..=work.count {
            let sent = Instant::now();
            let body = work.body.bytes.to_vec();
            channel.basic_publish(properties.clone(), body, arguments.clone()).await?;
            let message = messages.recv().await;
            latencies.push(sent.elapsed());
            acknowledge(&channel, work, message).await?;
            confirms.reached(number).await?;
        }
        let sample = Sample { latencies, ..meter.stop(work.count) };
        channel.close().await?;
        connection.close().await?;
        Ok(sample)
    }
}

/// Consumes in a process whose memory is measured.
pub(crate) async fn consume_as_resident(work: &Work) -> Result<()> {
    let (connection, channel) = connect(&work.url).await?;
    consume(&channel, work).await?;
    channel.close().await?;
    connection.close().await?;
    Ok(())
}

async fn consume(channel: &Channel, work: &Work) -> Result<()> {
    channel.basic_qos(BasicQosArguments::new(0, work.prefetch, false)).await?;
    let mut messages = subscribe(channel, work).await?;
    for _ in 0..work.count {
        acknowledge(channel, work, messages.recv().await).await?;
    }
    Ok(())
}

async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let url = parse(url)?;
    let (to, user) = (&url.authority, &url.authority.userinfo);
    let arguments = OpenConnectionArguments::new(&to.host, to.port, &user.username, &user.password)
        .virtual_host(&url.vhost)
        .finish();
    let connection = Connection::open(&arguments).await?;
    let channel = connection.open_channel(None).await?;
    Ok((connection, channel))
}

async fn confirm(channel: &Channel) -> Result<Arc<Confirms>> {
    let confirms = Arc::new(Confirms::default());
    let callback = Callback { confirms: Arc::clone(&confirms), ..Callback::default() };
    channel.register_callback(callback).await?;
    channel.confirm_select(ConfirmSelectArguments::default()).await?;
    Ok(confirms)
}

async fn subscribe(
    channel: &Channel,
    work: &Work,
) -> Result<mpsc::UnboundedReceiver<ConsumerMessage>> {
    let arguments = BasicConsumeArguments::new(&work.queue, "bench");
    let (_tag, messages) = channel.basic_consume_rx(arguments).await?;
    Ok(messages)
}

async fn acknowledge(
    channel: &Channel,
    work: &Work,
    message: Option<ConsumerMessage>,
) -> Result<()> {
    let message = message.context("the consumer ended")?;
    work.check(message.content.as_deref().unwrap_or_default())?;
    let tag = message.deliver.context("a delivery without a tag")?.delivery_tag();
    channel.basic_ack(BasicAckArguments::new(tag, false)).await?;
    Ok(())
}

fn persistent() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json")
        .with_content_encoding("utf-8")
        .with_persistence(true)
        .finish()
}

/// How many publishes the broker has confirmed.
#[derive(Debug, Default)]
struct Confirms {
    count: AtomicU64,
    failed: AtomicBool,
    changed: Notify,
}

impl Confirms {
    /// Waits until there are that many.
    async fn reached(&self, count: u64) -> Result<()> {
        while self.count.load(Ordering::Acquire) < count {
            ensure!(!self.failed.load(Ordering::Acquire), "the broker refused a message");
            self.changed.notified().await;
        }
        Ok(())
    }
}

/// Counts confirms.
#[derive(Debug, Default)]
struct Callback {
    confirms: Arc<Confirms>,
    /// All up to this one are confirmed …
    up_to: u64,
    /// … and these beyond it.
    beyond: BTreeSet<u64>,
}

impl Callback {
    fn confirmed(&mut self, tag: u64, multiple: bool) {
        if multiple {
            self.up_to = self.up_to.max(tag);
            self.beyond = self.beyond.split_off(&(self.up_to + 1));
        } else if tag > self.up_to {
            self.beyond.insert(tag);
        }
        while self.beyond.remove(&(self.up_to + 1)) {
            self.up_to += 1;
        }
        let beyond = u64::try_from(self.beyond.len()).unwrap_or_default();
        self.confirms.count.store(self.up_to + beyond, Ordering::Release);
        self.confirms.changed.notify_one();
    }

    fn failed(&self) {
        self.confirms.failed.store(true, Ordering::Release);
        self.confirms.changed.notify_one();
    }
}

#[async_trait]
impl ChannelCallback for Callback {
    async fn close(&mut self, _: &Channel, _: CloseChannel) -> Result<(), AmqprsError> {
        self.failed();
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), AmqprsError> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, AmqprsError> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.confirmed(ack.delivery_tag(), ack.mutiple());
    }

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        self.failed();
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        self.failed();
    }
}

/// What tables call it.
pub(super) const NAME: &str = "raw amqprs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_are_counted_once() {
        let mut callback = Callback::default();
        let confirms = Arc::clone(&callback.confirms);
        for (tag, multiple, count) in [(3, false, 1), (2, true, 3), (5, true, 5), (4, false, 5)] {
            callback.confirmed(tag, multiple);
            assert_eq!(confirms.count.load(Ordering::Acquire), count, "after {tag}");
        }
    }
}
