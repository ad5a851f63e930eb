//! A transport whose brokers do as they are told: dead hosts, links that break, refusals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use kombu_core::transport::{
    BindQueue, Capabilities, Confirm, ConnectParams, Consume, ConsumerTag, DeleteExchange,
    DeleteQueue, DeliveryTag, ExchangeBinding, Get, Publish, QueueInfo, RawChannel, RawConnection,
    RawDelivery, ServerInfo, Settle, Sink, Transport,
};
use kombu_core::{Error, ErrorKind, Exchange, Message, Queue, Result, Scope};
use tokio::sync::watch;

/// What happened, in order, and what is to happen.
#[derive(Debug, Default)]
pub(crate) struct Script {
    state: Mutex<State>,
    /// Rises to break every link made before.
    breaks: watch::Sender<u64>,
    /// Rises with every link that is made.
    pub(crate) links: watch::Sender<u64>,
    /// Rises with every link that is closed.
    pub(crate) closed_links: watch::Sender<u64>,
    /// Rises with every consumer that started.
    pub(crate) consumers: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    dead: BTreeSet<String>,
    refused: BTreeMap<String, ErrorKind>,
    log: Vec<String>,
    sinks: Vec<(Sink, ConsumerTag, Arc<str>)>,
    failing_publishes: usize,
    late: usize,
    mute: bool,
    requests: Vec<Arc<Publish>>,
}

impl Script {
    pub(crate) fn kill(&self, host: &str) {
        self.state.lock().unwrap().dead.insert(host.to_owned());
    }

    pub(crate) fn revive(&self, host: &str) {
        self.state.lock().unwrap().dead.remove(host);
    }

    /// Refuses to declare a queue or exchange of that name.
    pub(crate) fn refuse(&self, name: &str, kind: ErrorKind) {
        self.state.lock().unwrap().refused.insert(name.to_owned(), kind);
    }

    /// Answers the next publishes as if the link had broken before the confirm.
    pub(crate) fn fail_publishes(&self, count: usize) {
        self.state.lock().unwrap().failing_publishes = count;
    }

    /// Delivers so many messages after the consumer was cancelled: they were on their way.
    pub(crate) fn deliver_late(&self, count: usize) {
        self.state.lock().unwrap().late = count;
    }

    /// Answers no ping any more, as a peer that is gone without a word.
    pub(crate) fn go_mute(&self, mute: bool) {
        self.state.lock().unwrap().mute = mute;
    }

    pub(crate) fn break_links(&self) {
        self.breaks.send_modify(|count| *count += 1);
    }

    /// What happened since the last call.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }

    /// Delivers a body to the consumer that subscribed last.
    pub(crate) async fn deliver(&self, body: &'static str) {
        let (sink, tag, queue) = self.state.lock().unwrap().sinks.last().cloned().unwrap();
        let mut message = Message::default();
        message.body = body.into();
        message.properties.content_type = Some("text/plain".into());
        let delivery = RawDelivery::new(DeliveryTag(1), tag, queue, message);
        sink.deliver(vec![delivery]).await.unwrap();
    }

    /// Answers the last request that was published, through the consumer that subscribed last.
    pub(crate) async fn reply(&self, body: &'static str) {
        let (request, (sink, tag, queue)) = {
            let mut state = self.state.lock().unwrap();
            (state.requests.pop().unwrap(), state.sinks.last().cloned().unwrap())
        };
        let asked = &request.message.properties;
        assert_eq!(asked.reply_to.as_deref(), Some(&*queue));
        let mut message = Message::default();
        message.body = body.into();
        message.properties.content_type = Some("application/json".into());
        message.properties.correlation_id.clone_from(&asked.correlation_id);
        let delivery = RawDelivery::new(DeliveryTag(1), tag, queue, message);
        sink.deliver(vec![delivery]).await.unwrap();
    }

    /// Waits until so many requests were published that are not answered.
    pub(crate) async fn requests(&self, count: usize) {
        while self.state.lock().unwrap().requests.len() < count {
            tokio::task::yield_now().await;
        }
    }

    /// Ends the consumer that subscribed last, as a broker does whose queue was deleted.
    pub(crate) fn cancel_last(&self) {
        let (sink, tag, _) = self.state.lock().unwrap().sinks.pop().unwrap();
        sink.cancelled(tag, Error::new(ErrorKind::Cancelled, "queue deleted"));
    }

    fn note(&self, what: impl Into<String>) {
        self.state.lock().unwrap().log.push(what.into());
    }

    fn may_declare(&self, name: &str) -> Result<()> {
        match self.state.lock().unwrap().refused.get(name) {
            Some(kind) => Err(Error::new(*kind, "scripted refusal").scoped(Scope::Channel)),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Scripted(pub(crate) Arc<Script>);

#[async_trait]
impl Transport for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["scripted"]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn connect(&self, params: &ConnectParams) -> Result<Arc<dyn RawConnection>> {
        let host = params.url.host().unwrap_or_default().to_owned();
        self.0.note(format!("connect {host}"));
        if self.0.state.lock().unwrap().dead.contains(&host) {
            return Err(Error::lost("connection refused"));
        }
        let breaks = self.0.breaks.subscribe();
        let born = *breaks.borrow();
        self.0.links.send_modify(|count| *count += 1);
        Ok(Arc::new(Link { script: Arc::clone(&self.0), born, closed: watch::Sender::new(false) }))
    }
}

#[derive(Debug)]
struct Link {
    script: Arc<Script>,
    born: u64,
    closed: watch::Sender<bool>,
}

impl Link {
    async fn broken(script: &Script, born: u64, closed: &watch::Sender<bool>) -> Error {
        let (mut breaks, mut closed) = (script.breaks.subscribe(), closed.subscribe());
        tokio::select! {
            _ = breaks.wait_for(|count| *count > born) => Error::lost("scripted break"),
            _ = closed.wait_for(|closed| *closed) => Error::closed("connection"),
        }
    }
}

#[async_trait]
impl RawConnection for Link {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn server(&self) -> ServerInfo {
        ServerInfo::new("scripted", "1")
    }

    async fn open_channel(&self) -> Result<Arc<dyn RawChannel>> {
        if *self.script.breaks.borrow() > self.born {
            return Err(Error::lost("scripted break"));
        }
        let closed = self.closed.clone();
        Ok(Arc::new(Lane { script: Arc::clone(&self.script), born: self.born, closed }))
    }

    async fn ping(&self) -> Result<()> {
        self.script.note("ping");
        if self.script.state.lock().unwrap().mute {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn lost(&self) -> Error {
        Self::broken(&self.script, self.born, &self.closed).await
    }

    async fn close(&self) -> Result<()> {
        self.script.closed_links.send_modify(|count| *count += 1);
        self.closed.send_replace(true);
        Ok(())
    }
}

#[derive(Debug)]
struct Lane {
    script: Arc<Script>,
    born: u64,
    closed: watch::Sender<bool>,
}

#[async_trait]
impl RawChannel for Lane {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        self.script.note(format!("exchange {}", exchange.name()));
        self.script.may_declare(exchange.name())
    }

    async fn delete_exchange(&self, _delete: &DeleteExchange) -> Result<()> {
        Ok(())
    }

    async fn bind_exchange(&self, _binding: &ExchangeBinding) -> Result<()> {
        Err(Error::unsupported("scripted", "exchange_bindings"))
    }

    async fn unbind_exchange(&self, _binding: &ExchangeBinding) -> Result<()> {
        Err(Error::unsupported("scripted", "exchange_bindings"))
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<QueueInfo> {
        self.script.note(format!("queue {}", queue.name()));
        self.script.may_declare(queue.name())?;
        let name = if queue.name().is_empty() { "amq.gen-1" } else { queue.name() };
        Ok(QueueInfo::new(name, 0, 0))
    }

    async fn delete_queue(&self, _delete: &DeleteQueue) -> Result<u64> {
        Ok(0)
    }

    async fn purge(&self, _queue: &str) -> Result<u64> {
        Ok(0)
    }

    async fn bind_queue(&self, binding: &BindQueue) -> Result<()> {
        self.script.note(format!("bind {}", binding.queue));
        Ok(())
    }

    async fn unbind_queue(&self, _binding: &BindQueue) -> Result<()> {
        Ok(())
    }

    async fn publish(&self, publish: Arc<Publish>) -> Result<Confirm> {
        self.script.note(format!("publish {}", publish.routing_key));
        let mut state = self.script.state.lock().unwrap();
        if state.failing_publishes > 0 {
            state.failing_publishes -= 1;
            return Ok(Confirm::ready(Err(Error::lost("scripted loss before the confirm"))));
        }
        if publish.message.properties.reply_to.is_some() {
            state.requests.push(publish);
        }
        Ok(Confirm::ready(Ok(())))
    }

    async fn get(&self, _get: &Get) -> Result<Option<RawDelivery>> {
        Ok(None)
    }

    async fn consume(&self, consume: Consume) -> Result<()> {
        self.script.note(format!("consume {}", consume.queue));
        let sink = (consume.sink, consume.tag, consume.queue);
        self.script.state.lock().unwrap().sinks.push(sink);
        self.script.consumers.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn cancel(&self, tag: &ConsumerTag) -> Result<()> {
        self.script.note(format!("cancel {tag}"));
        let late = std::mem::take(&mut self.script.state.lock().unwrap().late);
        for _ in 0..late {
            self.script.deliver("late").await;
        }
        self.script.state.lock().unwrap().sinks.retain(|(_, known, _)| known != tag);
        Ok(())
    }

    fn settle(&self, settle: Settle) -> Result<Confirm> {
        self.script.note(format!("settle {} {:?}", settle.tag, settle.outcome));
        Ok(Confirm::ready(Ok(())))
    }

    fn flush(&self) {}

    async fn settled(&self) -> Result<()> {
        Ok(())
    }

    async fn recover(&self) -> Result<()> {
        Ok(())
    }

    async fn lost(&self) -> Error {
        Link::broken(&self.script, self.born, &self.closed).await
    }

    async fn close(&self) -> Result<()> {
        self.script.note("close channel");
        Ok(())
    }
}
