//! A channel: calls, deliveries and settlements through lapin; publishing beside it.

mod inner;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use kombu_core::transport::{
    BindQueue, Confirm, Consume, ConsumerTag, DeleteExchange, DeleteQueue, ExchangeBinding, Get,
    Outcome, Publish, QueueInfo, RawChannel, RawDelivery, Settle,
};
use kombu_core::{Binding, Error, Exchange, Queue, Result, Scope};
use lapin::options::{
    BasicCancelOptions, BasicGetOptions, ExchangeBindOptions, ExchangeDeleteOptions,
    ExchangeUnbindOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use tokio::sync::{mpsc, oneshot};

pub(crate) use inner::Inner;

use crate::connection::Shared;
use crate::consumer::{Forwarder, convert};
use crate::driver::lapin::LapinLink;
use crate::driver::tables::{short, to_lapin};
use crate::names;
use crate::publisher::Publisher;
use crate::tasks::Tasks;

/// A channel. Dropping it closes it, and the broker takes back what is unsettled.
pub(crate) struct AmqpChannel {
    inner: Arc<Inner>,
    calls: mpsc::Sender<Call>,
    publisher: Publisher,
    tasks: Tasks,
}

/// A call that runs to its end even if its caller is gone. It may leave a consumer to be run.
type Call = Box<dyn FnOnce() -> BoxFuture<'static, Option<Forwarder>> + Send>;

impl AmqpChannel {
    pub(crate) async fn open(connection: Arc<Shared>, link: Arc<LapinLink>) -> Result<Self> {
        let channel_errors = link.channel_errors();
        let control = link.open_channel().await?;
        let inner = Arc::new(Inner::new(connection, link, control));
        let (calls, waiting) = mpsc::channel(CALLS);
        let tasks = Tasks::default();
        tasks.spawn(inner::run_calls(Arc::clone(&inner), waiting, channel_errors));
        tasks.spawn(inner::send_settlements(Arc::clone(&inner)));
        Ok(Self { inner, calls, publisher: Publisher::default(), tasks })
    }

    /// Runs a call on the channel's own task, one after the other: dropping the caller's future
    /// drops only the answer.
    async fn call<T, F>(
        &self,
        operation: &'static str,
        call: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let answer = self.call_and_leave(|inner| {
            let running = call(inner);
            async move { running.await.map(|answer| (answer, None)) }
        });
        answer.await.map_err(|error| error.during(operation))
    }

    async fn call_and_leave<T, F>(
        &self,
        call: impl FnOnce(Arc<Inner>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<(T, Option<Forwarder>)>> + Send + 'static,
    {
        let (answer, waiting) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let call: Call = Box::new(move || {
            async move {
                let (result, left) = match call(inner).await {
                    Ok((result, left)) => (Ok(result), left),
                    Err(error) => (Err(error), None),
                };
                let _caller_is_gone = answer.send(result);
                left
            }
            .boxed()
        });
        self.calls.send(call).await.map_err(|_ended| self.inner.gone())?;
        waiting.await.unwrap_or_else(|_ended| Err(self.inner.gone()))
    }
}

#[async_trait]
impl RawChannel for AmqpChannel {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        names::check_entity("exchange", exchange.name())?;
        names::check("exchange type", exchange.kind().as_str())?;
        names::check_table("argument", exchange.arguments())?;
        let exchange = exchange.clone();
        self.call("declare exchange", async move |inner: Arc<Inner>| {
            let name = exchange.name().to_owned();
            let declared = inner.declare_exchange(&exchange).await;
            declared.map_err(|error| error.with("exchange", name))
        })
        .await
    }

    async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()> {
        names::check_entity("exchange", &delete.name)?;
        let delete = delete.clone();
        self.call("delete exchange", async move |inner: Arc<Inner>| {
            let options = ExchangeDeleteOptions { if_unused: delete.if_unused, nowait: false };
            let deleted = inner.control().exchange_delete(short(&delete.name), options).await;
            inner.heard(deleted).map_err(|error| error.with("exchange", delete.name))
        })
        .await
    }

    async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        check_binding("exchange", &binding.destination, &binding.binding)?;
        let ExchangeBinding { destination, binding, .. } = binding.clone();
        self.call("bind exchange", async move |inner: Arc<Inner>| {
            let bound = inner.control().exchange_bind(
                short(&destination),
                short(binding.exchange().name()),
                short(binding.routing_key()),
                ExchangeBindOptions::default(),
                to_lapin(binding.arguments()),
            );
            inner.heard(bound.await).map_err(|error| {
                error.with("exchange", destination).with("source", binding.exchange().name())
            })
        })
        .await
    }

    async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        check_binding("exchange", &binding.destination, &binding.binding)?;
        let ExchangeBinding { destination, binding, .. } = binding.clone();
        self.call("unbind exchange", async move |inner: Arc<Inner>| {
            let unbound = inner.control().exchange_unbind(
                short(&destination),
                short(binding.exchange().name()),
                short(binding.routing_key()),
                ExchangeUnbindOptions::default(),
                to_lapin(binding.arguments()),
            );
            inner.heard(unbound.await).map_err(|error| {
                error.with("exchange", destination).with("source", binding.exchange().name())
            })
        })
        .await
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        names::check_entity("queue", queue.name())?;
        names::check_table("argument", queue.arguments())?;
        let queue = queue.clone();
        self.call("declare queue", async move |inner: Arc<Inner>| {
            let options = QueueDeclareOptions {
                passive: queue.is_passive(),
                durable: queue.is_durable(),
                exclusive: queue.is_exclusive(),
                auto_delete: queue.is_auto_delete(),
                nowait: false,
            };
            let declared = inner.control().queue_declare(
                short(queue.name()),
                options,
                to_lapin(queue.arguments()),
            );
            let declared = inner.heard(declared.await);
            let declared = declared.map_err(|error| error.with("queue", queue.name()))?;
            Ok(QueueInfo::new(
                declared.name().as_str(),
                u64::from(declared.message_count()),
                declared.consumer_count(),
            ))
        })
        .await
    }

    async fn delete_queue(&self, delete: &DeleteQueue) -> Result<u64> {
        names::check_entity("queue", &delete.name)?;
        let delete = delete.clone();
        self.call("delete queue", async move |inner: Arc<Inner>| {
            let options = QueueDeleteOptions {
                if_unused: delete.if_unused,
                if_empty: delete.if_empty,
                nowait: false,
            };
            let deleted = inner.control().queue_delete(short(&delete.name), options).await;
            inner.heard(deleted).map(u64::from).map_err(|error| error.with("queue", delete.name))
        })
        .await
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        names::check_entity("queue", queue)?;
        let queue = queue.to_owned();
        self.call("purge queue", async move |inner: Arc<Inner>| {
            let purged =
                inner.control().queue_purge(short(&queue), QueuePurgeOptions::default()).await;
            inner.heard(purged).map(u64::from).map_err(|error| error.with("queue", queue))
        })
        .await
    }

    async fn bind_queue(&self, binding: &BindQueue) -> Result<()> {
        check_binding("queue", &binding.queue, &binding.binding)?;
        let BindQueue { queue, binding, .. } = binding.clone();
        self.call("bind queue", async move |inner: Arc<Inner>| {
            let bound = inner.control().queue_bind(
                short(&queue),
                short(binding.exchange().name()),
                short(binding.routing_key()),
                QueueBindOptions::default(),
                to_lapin(binding.arguments()),
            );
            inner.heard(bound.await).map_err(|error| {
                error.with("queue", queue).with("exchange", binding.exchange().name())
            })
        })
        .await
    }

    async fn unbind_queue(&self, binding: &BindQueue) -> Result<()> {
        check_binding("queue", &binding.queue, &binding.binding)?;
        let BindQueue { queue, binding, .. } = binding.clone();
        self.call("unbind queue", async move |inner: Arc<Inner>| {
            let unbound = inner.control().queue_unbind(
                short(&queue),
                short(binding.exchange().name()),
                short(binding.routing_key()),
                to_lapin(binding.arguments()),
            );
            inner.heard(unbound.await).map_err(|error| {
                error.with("queue", queue).with("exchange", binding.exchange().name())
            })
        })
        .await
    }

    async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm> {
        names::check_publish(&publish).map_err(|error| error.during("publish"))?;
        if self.inner.is_gone() {
            return Err(self.inner.gone().during("publish"));
        }
        if let Some(blocked) = self.inner.connection().blocked().error() {
            return Err(blocked);
        }
        let publish = match publish.due {
            None => publish,
            Some(_) => {
                let connection = self.inner.connection();
                let delayed = Box::pin(connection.delays().delay(connection, publish)).await;
                delayed.map_err(|error| error.during("publish for later"))?
            }
        };
        self.publisher.publish(publish, &self.inner, &self.tasks).await
    }

    async fn get(&self, get: &Get) -> Result<Option<RawDelivery>> {
        names::check_entity("queue", &get.queue)?;
        let Get { queue, no_ack, .. } = get.clone();
        let got = self.call("get a message", async move |inner: Arc<Inner>| {
            // Taken with the need to settle even for `no_ack`: a caller that is gone when the
            // message comes must not cost it.
            let got = inner.control().basic_get(short(&queue), BasicGetOptions::default()).await;
            let got = inner.heard(got).map_err(|error| error.with("queue", &queue))?;
            Ok(got.map(|got| {
                let delivery = convert(got.delivery, ConsumerTag::new(""), Arc::from(queue));
                inner.delivered(std::slice::from_ref(&delivery), false);
                Unclaimed { delivery: Some(delivery), inner }
            }))
        });
        let Some(delivery) = got.await?.and_then(Unclaimed::claim) else {
            return Ok(None);
        };
        if no_ack {
            let _sent_soon = self.inner.settle(Settle::one(delivery.tag, Outcome::Ack))?;
        }
        Ok(Some(delivery))
    }

    async fn consume(&self, consume: Consume) -> Result<()> {
        names::check_entity("queue", &consume.queue)?;
        names::check("consumer tag", consume.tag.as_str())?;
        names::check_table("argument", &consume.arguments)?;
        let queue = Arc::clone(&consume.queue);
        let consuming = self.call_and_leave(async move |inner: Arc<Inner>| {
            inner.consume(consume).await.map(|forwarder| ((), Some(forwarder)))
        });
        consuming.await.map_err(|error| error.during("start a consumer").with("queue", queue))
    }

    async fn cancel(&self, tag: &ConsumerTag) -> Result<()> {
        let tag = tag.clone();
        let cancelled = self.call("cancel a consumer", async move |inner: Arc<Inner>| {
            let Some(handle) = inner.take_consumer(&tag) else {
                return Ok(());
            };
            let options = BasicCancelOptions::default();
            let cancelled = inner.control().basic_cancel(short(tag.as_str()), options).await;
            handle.stop.notify_one();
            let _ended = handle.done.await;
            inner.heard(cancelled)
        });
        match cancelled.await {
            // With the channel the consumer is gone too.
            Err(error) if error.scope() == Scope::Channel => Ok(()),
            cancelled => cancelled,
        }
    }

    fn settle(&self, settle: Settle) -> Result<Confirm> {
        self.inner.settle(settle)
    }

    fn flush(&self) {
        self.inner.hurry();
    }

    async fn settled(&self) -> Result<()> {
        self.call("send settlements", async move |inner: Arc<Inner>| {
            inner.send().await;
            if inner.is_gone() { Err(inner.gone()) } else { Ok(()) }
        })
        .await
    }

    async fn recover(&self) -> Result<()> {
        // Not `basic.recover`: its answer does not say which deliveries on their way it has
        // voided, and settling such a one later costs the channel.
        self.call("recover unsettled messages", async move |inner: Arc<Inner>| {
            inner.requeue_all();
            inner.send().await;
            Ok(())
        })
        .await
    }

    async fn lost(&self) -> Error {
        self.inner.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.start_closing();
        self.publisher.finished().await;
        let closed = self.call("close the channel", async move |inner: Arc<Inner>| {
            inner.send().await;
            let closed = inner.control().close(REPLY_SUCCESS, "closed".into()).await;
            // Before the answer is heard, so that this is no error of the channel's.
            inner.decide(Error::closed("channel"));
            inner.heard(closed)
        });
        match closed.await {
            Err(error) if error.scope() == Scope::Connection => Err(error),
            _closed_or_dead_before => Ok(()),
        }
    }
}

impl fmt::Debug for AmqpChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpChannel")
            .field("id", &self.inner.control().id())
            .field("gone", &self.inner.is_gone())
            .finish_non_exhaustive()
    }
}

/// A message that was got for somebody: given back if nobody claims it.
struct Unclaimed {
    delivery: Option<RawDelivery>,
    inner: Arc<Inner>,
}

impl Unclaimed {
    fn claim(mut self) -> Option<RawDelivery> {
        self.delivery.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(delivery) = &self.delivery {
            // It fails only for a channel that is gone, and then the broker has it back already.
            let _gone = self.inner.settle(Settle::one(delivery.tag, Outcome::Requeue));
        }
    }
}

fn check_binding(what: &'static str, destination: &str, binding: &Binding) -> Result<()> {
    names::check_entity(what, destination)?;
    names::check_entity("exchange", binding.exchange().name())?;
    names::check("binding key", binding.routing_key())?;
    names::check_table("argument", binding.arguments())
}

const REPLY_SUCCESS: u16 = 200;
/// Calls that wait for their turn.
const CALLS: usize = 16;
