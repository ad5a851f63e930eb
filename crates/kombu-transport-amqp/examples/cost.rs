//! What a message costs at the transport's own interface, beside the client crates it stands on:
//! time and this process's CPU time, publishing confirmed and consuming with an ack each.
//!
//! `KOMBU_TEST_AMQP_URL=amqp://… cargo run --release --example cost [MESSAGES]`
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement at a terminal")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use amqprs::channel::{BasicAckArguments, BasicConsumeArguments, BasicPublishArguments};
use amqprs::channel::{BasicQosArguments, ConfirmSelectArguments};
use amqprs::connection::OpenConnectionArguments;
use futures_util::StreamExt as _;
use kombu_core::transport::{
    ConnectParams, Consume, ConsumerTag, DeleteQueue, Outcome, Publish, RawChannel, RawConnection,
    Settle, Transport as _, sink,
};
use kombu_core::{BrokerUrl, Message, Options, Properties, Queue};
use kombu_transport_amqp::AmqpTransport;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use tokio::sync::Notify;

const BODY: &[u8] = &[b'x'; 100];
const WINDOW: usize = 1000;
const PREFETCH: u16 = 100;
const QUEUE: &str = "kombu-cost";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = std::env::var("KOMBU_TEST_AMQP_URL").unwrap();
    let count: u64 = std::env::args().nth(1).map_or(50_000, |count| count.parse().unwrap());
    let (_connection, channel) = ours(&url, "auto").await;
    for round in 1..=3 {
        println!("round {round}: {count} messages of {} bytes", BODY.len());
        for driver in ["auto", "lapin"] {
            let (connection, channel) = fresh(&url, &channel, driver).await;
            let name = format!("ours, driver={driver}");
            measure(&name, "publish", count, publish_ours(&channel, count)).await;
            measure(&name, "consume", count, consume_ours(&channel, count)).await;
            connection.close().await.unwrap();
        }
        empty(&channel).await;
        let (publisher, confirms) = raw_amqprs(&url).await;
        let published = publish_amqprs(&publisher.1, &confirms, count);
        measure("amqprs", "publish", count, published).await;
        measure("amqprs", "consume", count, consume_amqprs(&publisher.1, count)).await;
        empty(&channel).await;
        let (_lapin, raw) = raw_lapin(&url).await;
        measure("lapin", "publish", count, publish_lapin(&raw, count)).await;
        measure("lapin", "consume", count, consume_lapin(&raw, count)).await;
    }
    channel.delete_queue(&DeleteQueue::new(QUEUE)).await.unwrap();
}

async fn measure(who: &str, what: &str, count: u64, work: impl Future<Output = ()>) {
    let (cpu, start) = (cpu(), Instant::now());
    work.await;
    let (elapsed, cpu) = (start.elapsed(), self::cpu() - cpu);
    let per = |duration: Duration| duration.as_secs_f64() * 1e6 / count as f64;
    println!("  {who:22} {what}  {:6.0}/s  {:5.1} us CPU", 1e6 / per(elapsed), per(cpu),);
}

/// User and system time of this process, in the kernel's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

async fn ours(url: &str, driver: &str) -> (Arc<dyn RawConnection>, Arc<dyn RawChannel>) {
    let options = Options::new().with("driver", driver).with("publish_window", 1000);
    let params = ConnectParams::new(BrokerUrl::parse(url).unwrap(), options).unwrap();
    let connection = AmqpTransport::new().connect(&params).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    (connection, channel)
}

async fn empty(channel: &Arc<dyn RawChannel>) {
    channel.delete_queue(&DeleteQueue::new(QUEUE)).await.unwrap();
    channel.declare_queue(&Queue::new(QUEUE)).await.unwrap();
}

async fn fresh(
    url: &str,
    channel: &Arc<dyn RawChannel>,
    driver: &str,
) -> (Arc<dyn RawConnection>, Arc<dyn RawChannel>) {
    empty(channel).await;
    let (connection, channel) = ours(url, driver).await;
    publish_ours(&channel, 100).await;
    channel.purge(QUEUE).await.unwrap();
    (connection, channel)
}

async fn publish_ours(channel: &Arc<dyn RawChannel>, count: u64) {
    let mut confirms = VecDeque::new();
    for _ in 0..count {
        if confirms.len() == WINDOW {
            let confirm: kombu_core::transport::Confirm = confirms.pop_front().unwrap();
            confirm.await.unwrap();
        }
        let message = Message::new(BODY, Properties::new());
        let publish = Arc::new(Publish::new("", QUEUE, message));
        confirms.push_back(channel.publish(publish).await.unwrap());
    }
    for confirm in confirms {
        confirm.await.unwrap();
    }
}

async fn consume_ours(channel: &Arc<dyn RawChannel>, count: u64) {
    let (sink, mut inbox) = sink(16);
    let tag = ConsumerTag::new("cost");
    let mut consume = Consume::new(QUEUE, tag.clone(), sink);
    consume.prefetch = PREFETCH;
    channel.consume(consume).await.unwrap();
    let mut taken = 0;
    while taken < count {
        for delivery in inbox.next().await.unwrap() {
            drop(channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap());
            taken += 1;
        }
        channel.flush();
    }
    channel.settled().await.unwrap();
    channel.cancel(&tag).await.unwrap();
}

/// Counts confirms.
struct Confirms(Arc<(AtomicU64, Notify)>);

#[async_trait::async_trait]
impl amqprs::callbacks::ChannelCallback for Confirms {
    async fn close(
        &mut self,
        _: &amqprs::channel::Channel,
        _: amqprs::CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn cancel(
        &mut self,
        _: &amqprs::channel::Channel,
        _: amqprs::Cancel,
    ) -> Result<(), amqprs::error::Error> {
        Ok(())
    }
    async fn flow(
        &mut self,
        _: &amqprs::channel::Channel,
        active: bool,
    ) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }
    async fn publish_ack(&mut self, _: &amqprs::channel::Channel, ack: amqprs::Ack) {
        self.0.0.fetch_max(ack.delivery_tag(), Ordering::AcqRel);
        self.0.1.notify_one();
    }
    async fn publish_nack(&mut self, _: &amqprs::channel::Channel, _: amqprs::Nack) {}
    async fn publish_return(
        &mut self,
        _: &amqprs::channel::Channel,
        _: amqprs::Return,
        _: amqprs::BasicProperties,
        _: Vec<u8>,
    ) {
    }
}

type RawAmqprs = (amqprs::connection::Connection, amqprs::channel::Channel);

async fn raw_amqprs(url: &str) -> (RawAmqprs, Arc<(AtomicU64, Notify)>) {
    let url = BrokerUrl::parse(url).unwrap();
    let arguments = OpenConnectionArguments::new(
        url.host().unwrap(),
        url.port().unwrap(),
        url.username().unwrap(),
        url.password().unwrap().expose(),
    );
    let connection = amqprs::connection::Connection::open(&arguments).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();
    let confirms = Arc::new((AtomicU64::new(0), Notify::new()));
    channel.register_callback(Confirms(Arc::clone(&confirms))).await.unwrap();
    channel.confirm_select(ConfirmSelectArguments::default()).await.unwrap();
    ((connection, channel), confirms)
}

async fn publish_amqprs(
    channel: &amqprs::channel::Channel,
    confirms: &Arc<(AtomicU64, Notify)>,
    count: u64,
) {
    let below = async |limit: u64| {
        while confirms.0.load(Ordering::Acquire) < limit {
            confirms.1.notified().await;
        }
    };
    for number in 1..=count {
        below(number.saturating_sub(WINDOW as u64)).await;
        let mut properties = amqprs::BasicProperties::default();
        properties.with_delivery_mode(2).with_priority(0);
        let arguments = BasicPublishArguments::new("", QUEUE);
        channel.basic_publish(properties, BODY.to_vec(), arguments).await.unwrap();
    }
    below(count).await;
}

async fn consume_amqprs(channel: &amqprs::channel::Channel, count: u64) {
    channel.basic_qos(BasicQosArguments::new(0, PREFETCH, false)).await.unwrap();
    let arguments = BasicConsumeArguments::new(QUEUE, "cost");
    let (_tag, mut messages) = channel.basic_consume_rx(arguments).await.unwrap();
    for _ in 0..count {
        let message = messages.recv().await.unwrap();
        let tag = message.deliver.unwrap().delivery_tag();
        channel.basic_ack(BasicAckArguments::new(tag, false)).await.unwrap();
    }
}

async fn raw_lapin(url: &str) -> (lapin::Connection, lapin::Channel) {
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (connection, channel)
}

async fn publish_lapin(channel: &lapin::Channel, count: u64) {
    let properties = lapin::BasicProperties::default().with_delivery_mode(2).with_priority(0);
    let mut left = usize::try_from(count).unwrap();
    while left > 0 {
        // All of a window sent together, and awaited together: what suits lapin best.
        let batch = left.min(WINDOW);
        let publishes = (0..batch).map(|_| {
            let options = BasicPublishOptions::default();
            channel.basic_publish("".into(), QUEUE.into(), options, BODY, properties.clone())
        });
        for sent in futures_util::future::join_all(publishes).await {
            sent.unwrap().await.unwrap();
        }
        left -= batch;
    }
}

async fn consume_lapin(channel: &lapin::Channel, count: u64) {
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.unwrap();
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(QUEUE.into(), "cost".into(), options, Default::default());
    let mut consumer = consuming.await.unwrap();
    for _ in 0..count {
        let delivery = consumer.next().await.unwrap().unwrap();
        let acked = channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default());
        acked.await.unwrap();
    }
}
