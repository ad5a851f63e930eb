//! The memory transport with one fault.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use kombu_core::transport::{
    BindQueue, Capabilities, Confirm, ConnectParams, Consume, ConsumerTag, DeleteExchange,
    DeleteQueue, ExchangeBinding, Get, Outcome, Publish, QueueInfo, RawChannel, RawConnection,
    RawDelivery, ServerInfo, Settle, Transport, sink,
};
use kombu_core::{Error, Exchange, Queue, Result, Value};
use kombu_transport_memory::MemoryTransport;

/// What is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    ClaimsConsumerPriority,
    DoublesEveryFifth,
    DropsEveryFifth,
    ForgetsAcknowledgements,
    HangsOnSize,
    HidesTopic,
    IgnoresCancel,
    IgnoresDelay,
    IgnoresMandatory,
    IgnoresMultiple,
    IgnoresPrefetch,
    NeverMarksRedelivered,
    None,
    RequeueAcknowledges,
    SettlesTwice,
    StringifiesHeaders,
    SwapsPairs,
}

/// A transport with a fault.
#[derive(Debug)]
pub(crate) struct Broken {
    fault: Fault,
    inner: MemoryTransport,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, inner: MemoryTransport::new() }
    }
}

fn claims(fault: Fault, mut capabilities: Capabilities) -> Capabilities {
    match fault {
        Fault::ClaimsConsumerPriority => capabilities.consumer_priority = true,
        Fault::HidesTopic => capabilities.topic = false,
        _ => {}
    }
    capabilities
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Transport for Broken {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn capabilities(&self) -> Capabilities {
        claims(self.fault, self.inner.capabilities())
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let inner = self.inner.connect(params).await?;
        Ok(Arc::new(Connection { fault: self.fault, inner }))
    }
}

#[derive(Debug)]
struct Connection {
    fault: Fault,
    inner: Arc<dyn RawConnection>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RawConnection for Connection {
    fn capabilities(&self) -> Capabilities {
        claims(self.fault, self.inner.capabilities())
    }

    fn server(&self) -> ServerInfo {
        self.inner.server()
    }

    async fn open_channel(&self) -> Result<Arc<dyn RawChannel>> {
        let inner = self.inner.open_channel().await?;
        Ok(Arc::new(Channel {
            fault: self.fault,
            inner,
            published: AtomicU64::new(0),
            held_back: Mutex::default(),
        }))
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

#[derive(Debug)]
struct Channel {
    fault: Fault,
    inner: Arc<dyn RawChannel>,
    published: AtomicU64,
    held_back: Mutex<Option<Arc<Publish>>>,
}

impl Channel {
    fn held_back(&self) -> std::sync::MutexGuard<'_, Option<Arc<Publish>>> {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The publish with its headers as texts.
fn stringified(publish: &Publish) -> Publish {
    let mut publish = publish.clone();
    let headers = std::mem::take(&mut publish.message.properties.headers);
    publish.message.properties.headers = headers
        .into_iter()
        .map(|(name, value)| match value {
            Value::Text(text) => (name, text),
            other => (name, format!("{other:?}")),
        })
        .collect();
    publish
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RawChannel for Channel {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.inner.declare_exchange(exchange).await
    }

    async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()> {
        self.inner.delete_exchange(delete).await
    }

    async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        self.inner.bind_exchange(binding).await
    }

    async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        self.inner.unbind_exchange(binding).await
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        if self.fault == Fault::HangsOnSize && queue.is_passive() {
            std::future::pending::<()>().await;
        }
        self.inner.declare_queue(queue).await
    }

    async fn delete_queue(&self, delete: &DeleteQueue) -> Result<u64> {
        self.inner.delete_queue(delete).await
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        self.inner.purge(queue).await
    }

    async fn bind_queue(&self, binding: &BindQueue) -> Result<()> {
        self.inner.bind_queue(binding).await
    }

    async fn unbind_queue(&self, binding: &BindQueue) -> Result<()> {
        self.inner.unbind_queue(binding).await
    }

    async fn publish(&self, mut publish: Arc<Publish>) -> Result<Confirm> {
        let number = self.published.fetch_add(1, Ordering::SeqCst) + 1;
        match self.fault {
            Fault::DropsEveryFifth if number.is_multiple_of(5) => {
                return Ok(Confirm::ready(Ok(())));
            }
            Fault::DoublesEveryFifth if number.is_multiple_of(5) => {
                self.inner.publish(Arc::clone(&publish)).await?.await?;
            }
            Fault::SwapsPairs => {
                let first = self.held_back().take();
                match first {
                    Some(first) => {
                        self.inner.publish(publish).await?.await?;
                        return self.inner.publish(first).await;
                    }
                    None => {
                        *self.held_back() = Some(publish);
                        return Ok(Confirm::ready(Ok(())));
                    }
                }
            }
            Fault::IgnoresDelay => Arc::make_mut(&mut publish).due = None,
            Fault::IgnoresMandatory => Arc::make_mut(&mut publish).mandatory = false,
            Fault::StringifiesHeaders => publish = Arc::new(stringified(&publish)),
            _ => {}
        }
        self.inner.publish(publish).await
    }

    async fn get(&self, get: &Get) -> Result<Option<RawDelivery>> {
        self.inner.get(get).await
    }

    async fn consume(&self, mut consume: Consume) -> Result<()> {
        match self.fault {
            Fault::IgnoresPrefetch => consume.prefetch = 0,
            Fault::IgnoresCancel => {
                let (inner_sink, mut inbox) = sink(1);
                let outer = std::mem::replace(&mut consume.sink, inner_sink);
                tokio::spawn(async move {
                    while let Some(deliveries) = inbox.next().await {
                        // What comes for a consumer that is gone stays with it.
                        let _gone = outer.deliver(deliveries).await;
                    }
                });
            }
            Fault::NeverMarksRedelivered => {
                let (inner_sink, mut inbox) = sink(1);
                let outer = std::mem::replace(&mut consume.sink, inner_sink);
                tokio::spawn(async move {
                    while let Some(mut deliveries) = inbox.next().await {
                        for delivery in &mut deliveries {
                            delivery.redelivered = false;
                        }
                        if outer.deliver(deliveries).await.is_err() {
                            return;
                        }
                    }
                });
            }
            _ => {}
        }
        self.inner.consume(consume).await
    }

    async fn cancel(&self, tag: &ConsumerTag) -> Result<()> {
        if self.fault == Fault::IgnoresCancel {
            return Ok(());
        }
        self.inner.cancel(tag).await
    }

    fn settle(&self, mut settle: Settle) -> Result<Confirm> {
        match (self.fault, settle.outcome) {
            (Fault::RequeueAcknowledges, Outcome::Requeue) => settle.outcome = Outcome::Ack,
            (Fault::ForgetsAcknowledgements, Outcome::Ack) => return Ok(Confirm::ready(Ok(()))),
            (Fault::IgnoresMultiple, _) => settle.multiple = false,
            (Fault::SettlesTwice, _) => {
                return self.inner.settle(settle).or_else(|_| Ok(Confirm::ready(Ok(()))));
            }
            _ => {}
        }
        self.inner.settle(settle)
    }

    fn flush(&self) {
        self.inner.flush();
    }

    async fn settled(&self) -> Result<()> {
        self.inner.settled().await
    }

    async fn recover(&self) -> Result<()> {
        self.inner.recover().await
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
