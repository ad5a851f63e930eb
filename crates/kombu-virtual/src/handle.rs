//! The handle of a channel: what users of the interface call.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use kombu_core::transport::{
    BindQueue, Confirm, Consume, ConsumerTag, DeleteExchange, DeleteQueue, DeliveryTag,
    ExchangeBinding, Get, Outcome, Publish, QueueInfo, RawChannel, RawDelivery, Settle,
};
use kombu_core::{Error, Exchange, Queue, Result};
use tokio::sync::oneshot;

use crate::channel::Channel;
use crate::connection::{Control, Guard};
use crate::consumer::Consumer;
use crate::declare;
use crate::lock::lock;
use crate::publish;
use crate::settle::{self, Job};
use crate::store::{Put, Store};
use crate::unsettled::Held;

/// The handle of a channel.
pub(crate) struct VirtualChannel<S: Store> {
    channel: Arc<Channel<S>>,
    /// Keeps the connection.
    _guard: Arc<Guard<S>>,
}

impl<S: Store> VirtualChannel<S> {
    pub(crate) fn new(channel: Arc<Channel<S>>, guard: Arc<Guard<S>>) -> Self {
        Self { channel, _guard: guard }
    }

    /// Does something with the channel and its store, to the end.
    async fn call<T, F, Fut>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Channel<S>>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.channel.alive()?;
        self.channel.link.call(work(Arc::clone(&self.channel))).await
    }
}

impl<S: Store> VirtualChannel<S> {
    /// As [`call`](Self::call), after those that were made before and dropped half way: a deletion
    /// that nobody waits for is not to overtake the next declaration.
    async fn in_turn<T, F, Fut>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<Channel<S>>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let mut turn = Box::pin(Arc::clone(&self.channel.turn).lock_owned());
        // Its place in the queue is from here on, not from when the work begins.
        let taken = (&mut turn).now_or_never();
        self.call(|channel| {
            let work = work(channel);
            async move {
                let _turn = match taken {
                    Some(taken) => taken,
                    None => turn.await,
                };
                work.await
            }
        })
        .await
    }
}

#[async_trait]
impl<S: Store> RawChannel for VirtualChannel<S> {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        let exchange = exchange.clone();
        self.in_turn(|channel| async move { declare::exchange(&channel.link, &exchange).await })
            .await
    }

    async fn delete_exchange(&self, delete: &DeleteExchange) -> Result<()> {
        let delete = delete.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::delete_exchange(&channel.link, &delete).await
        })
        .await
    }

    async fn bind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move { declare::bind_exchange(&channel.link, &binding).await })
            .await
    }

    async fn unbind_exchange(&self, binding: &ExchangeBinding) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::unbind_exchange(&channel.link, &binding).await
        })
        .await
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        let queue = queue.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::queue(&channel.link, queue).await
        })
        .await
    }

    async fn delete_queue(&self, delete: &DeleteQueue) -> Result<u64> {
        let delete = delete.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::delete_queue(&channel.link, &delete).await
        })
        .await
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let queue = queue.to_owned();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::check_queue(&channel.link, &queue).await?;
            channel.link.store.purge(&queue).await
        })
        .await
    }

    async fn bind_queue(&self, binding: &BindQueue) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move { declare::bind_queue(&channel.link, &binding).await })
            .await
    }

    async fn unbind_queue(&self, binding: &BindQueue) -> Result<()> {
        let binding = binding.clone();
        self.in_turn(|channel| async move {
            channel.in_order().await;
            declare::unbind_queue(&channel.link, &binding).await
        })
        .await
    }

    async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm> {
        self.channel.alive()?;
        let link = &self.channel.link;
        if !link.features.immediate {
            return link.publisher.publish(publish).await;
        }
        // A publisher that never waits would keep everybody else from running.
        tokio::task::coop::consume_budget().await;
        let targets = match publish::targets(link, &self.channel.routes, &publish).await {
            Ok(targets) => targets,
            Err(error) => {
                link.judge(&error);
                return Ok(Confirm::ready(Err(error)));
            }
        };
        if targets.is_empty() {
            return Ok(Confirm::ready(Ok(())));
        }
        let put = link.store.put_now(Put::new(targets, publish));
        Ok(Confirm::ready(put.inspect_err(|error| link.judge(error))))
    }

    async fn get(&self, get: &Get) -> Result<Option<RawDelivery>> {
        self.channel.alive()?;
        let channel = Arc::clone(&self.channel);
        let link = &self.channel.link;
        let get = get.clone();
        if link.features.immediate {
            return channel.take(get).await.inspect_err(|error| link.judge(error));
        }
        let (answer, taken) = oneshot::channel();
        link.tasks.spawn(async move {
            let taken = Arc::clone(&channel).take(get).await;
            if let Err(Ok(Some(delivery))) = answer.send(taken) {
                // Nobody waits any more.
                let held = lock(&channel.unsettled).take(delivery.tag);
                let jobs = held.map(|held| Job::new(held, Outcome::Requeue)).into_iter().collect();
                settle::settle(&channel.link, jobs).await;
            }
        });
        taken
            .await
            .unwrap_or_else(|_| Err(Error::lost("the call was given up")))
            .inspect_err(|error| link.judge(error))
    }

    async fn consume(&self, consume: Consume) -> Result<()> {
        self.call(|channel| channel.start(consume)).await
    }

    async fn cancel(&self, tag: &ConsumerTag) -> Result<()> {
        let tag = tag.clone();
        if self.channel.ended.is_ended() {
            return Ok(());
        }
        // Even for an immediate store, this waits for the fetch loop.
        let channel = Arc::clone(&self.channel);
        let (done, cancelled) = oneshot::channel();
        self.channel.link.tasks.spawn(async move {
            let _nobody_waits = done.send(channel.stop(tag).await);
        });
        cancelled.await.unwrap_or_else(|_| Err(Error::lost("the call was given up")))
    }

    fn settle(&self, settle: Settle) -> Result<Confirm> {
        let channel = &self.channel;
        if channel.link.ended.is_ended() {
            return Err(channel.unknown(settle.tag));
        }
        let _announced =
            (settle.outcome == Outcome::Requeue).then(|| channel.link.settler.announce_return());
        let mut jobs: Vec<Job<S::Receipt>> = Vec::new();
        let free = settle.outcome == Outcome::Ack && channel.link.features.claim_forgets;
        // Room for a message that goes back is made once it is back: it is fetched before what is
        // behind it.
        let mut later = Vec::new();
        let release = |consumer: &Consumer<S::Receipt>| {
            if consumer.released(1) {
                channel.wake_for(&consumer.queue);
            }
        };
        let mut take = |mut held: Held<S::Receipt>| {
            match held.consumer.take() {
                Some(consumer) if settle.outcome == Outcome::Requeue => later.push(consumer),
                Some(consumer) => release(&consumer),
                None => {}
            }
            if !free {
                jobs.push(Job::new(held, settle.outcome));
            }
        };
        if settle.multiple {
            let held = lock(&channel.unsettled).take_up_to(settle.tag);
            if held.is_empty() && settle.tag.0 != 0 {
                return Err(channel.unknown(settle.tag));
            }
            held.into_iter().for_each(&mut take);
        } else {
            let held = lock(&channel.unsettled).take(settle.tag);
            take(held.ok_or_else(|| channel.unknown(settle.tag))?);
        }
        if jobs.is_empty() {
            return Ok(Confirm::ready(Ok(())));
        }
        let confirm = settle::confirm_all(&mut jobs);
        channel.send(jobs);
        later.iter().for_each(|consumer| release(consumer));
        Ok(confirm)
    }

    fn flush(&self) {
        let link = &self.channel.link;
        if !link.features.immediate {
            link.settler.flush();
        }
        let roster = lock(&self.channel.roster);
        for consumer in roster.consumers.iter().filter(|consumer| consumer.hurry()) {
            for signal in roster.loops.iter().filter(|signal| signal.serves(&consumer.queue)) {
                signal.interrupt.fire();
            }
        }
    }

    async fn settled(&self) -> Result<()> {
        if !self.channel.link.features.immediate {
            self.channel.link.settler.settle_down().await;
        }
        self.channel.link.alive()
    }

    async fn recover(&self) -> Result<()> {
        self.call(|channel| async move {
            channel.in_order().await;
            let held = lock(&channel.unsettled).take_up_to(DeliveryTag(0));
            let consumers: Vec<_> = held.iter().filter_map(|held| held.consumer.clone()).collect();
            let jobs = held.into_iter().map(|held| Job::new(held, Outcome::Requeue)).collect();
            settle::settle(&channel.link, jobs).await;
            for consumer in consumers {
                consumer.released(1);
            }
            channel.wake();
            Ok(())
        })
        .await
    }

    async fn lost(&self) -> Error {
        self.channel.ended.wait().await
    }

    async fn close(&self) -> Result<()> {
        if self.channel.ended.is_ended() {
            return Ok(());
        }
        let channel = Arc::clone(&self.channel);
        channel.link.tasks.spawn({
            let channel = Arc::clone(&channel);
            async move { channel.shut_down().await }
        });
        channel.ended.wait().await;
        Ok(())
    }
}

impl<S: Store> Drop for VirtualChannel<S> {
    fn drop(&mut self) {
        let channel = Arc::clone(&self.channel);
        if !channel.ended.is_ended() {
            let _no_keeper = self.channel.link.control.send(Control::CloseChannel(channel));
        }
    }
}

impl<S: Store> fmt::Debug for VirtualChannel<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualChannel")
            .field("number", &self.channel.number)
            .finish_non_exhaustive()
    }
}
