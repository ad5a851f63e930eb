//! The Rust side.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kombu::transport::Get;
use kombu::{
    Accept, Connection, ConnectionBuilder, Consumer, Delivery, DeliveryMode, Exchange, Outcome,
    Producer, Publication, Queue, RetryPolicy, Table,
};
use serde_json::{Value as Json, json};
use tokio::time::timeout;

use crate::failure::{Failure, Result};
use crate::holder;
use crate::notation::{self, Body};
use crate::post::Post;
use crate::seen::Seen;
use crate::side::{PATIENCE, Side};
use crate::stage::Stage;

/// Kombu for Rust, as its users hold it.
pub(crate) struct Rust {
    stage: Arc<Stage>,
    connection: Connection,
    producer: Producer,
    /// Messages that are not settled, and the consumer that they came through.
    held: Vec<Delivery>,
    consumer: Option<Consumer>,
    accept: Accept,
}

impl Rust {
    pub(crate) async fn start(stage: &Arc<Stage>) -> Result<Self> {
        let connection = stage.connect().await?;
        let producer = connection.producer().await?;
        let stage = Arc::clone(stage);
        Ok(Self {
            stage,
            connection,
            producer,
            held: Vec::new(),
            consumer: None,
            accept: Accept::default(),
        })
    }

    fn publication(&self, post: &Post) -> Result<Publication> {
        let mut options = post.options.clone();
        let mut text = |name: &str| match options.remove(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(Failure::own(format!("{name} is no text: {other}"))),
        };
        let mut producer = self.producer.clone();
        if let Some(serializer) = text("serializer")? {
            producer = producer.serializer(serializer);
        }
        let mut publication = match (text("content_type")?, text("content_encoding")?) {
            (Some(content_type), Some(encoding)) => {
                producer.publish_raw(bare(&post.body)?, content_type, encoding)
            }
            _ => producer.publish(&Body(&post.body)),
        };
        let exchange = post.exchange.as_ref().map_or("", Exchange::name);
        publication = publication.to(exchange, &post.routing_key).headers(headers(post)?);
        for (name, value) in options {
            publication = set(publication, &name, &value)?;
        }
        Ok(publication)
    }
}

#[async_trait]
impl Side for Rust {
    async fn declare_exchange(&mut self, exchange: &Exchange) -> Result<()> {
        Ok(self.connection.declare_exchange(exchange).await?)
    }

    async fn declare(&mut self, queue: &Queue) -> Result<()> {
        self.connection.declare_queue(queue).await?;
        Ok(())
    }

    async fn declare_with(&mut self, queue: &Queue, _: &Json) -> Result<()> {
        self.declare(queue).await
    }

    async fn publish(&mut self, posts: &[Post]) -> Result<()> {
        let publications =
            posts.iter().map(|post| self.publication(post)).collect::<Result<Vec<_>>>()?;
        for result in self.producer.publish_batch(publications).await {
            result?;
        }
        Ok(())
    }

    fn accept(&mut self, names: &[&'static str]) {
        self.accept = names.iter().fold(Accept::default(), |accept, name| accept.with(*name));
    }

    async fn hold(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>> {
        let exists = Queue::new(queue).no_declare();
        let consumer = self.connection.consumer(exists).prefetch(u16::try_from(count)?);
        let mut consumer = consumer.accept(self.accept.clone()).start().await?;
        for _ in 0..count {
            self.held.push(next(&mut consumer).await?);
        }
        consumer.cancel().await;
        self.consumer = Some(consumer);
        Ok(self.held.iter().map(Seen::from_rust).collect())
    }

    async fn settle(&mut self, outcome: Outcome) -> Result<()> {
        for delivery in self.held.drain(..) {
            match outcome {
                Outcome::Ack => delivery.ack().await?,
                Outcome::Reject => delivery.reject().await?,
                Outcome::Requeue => delivery.requeue().await?,
                other => return Err(Failure::own(format!("no call for {other:?}"))),
            }
        }
        match self.consumer.take() {
            Some(consumer) => Ok(consumer.close().await?),
            None => Ok(()),
        }
    }

    async fn hold_and_die(&mut self, queue: &str, count: usize) -> Result<()> {
        holder::hold_and_die(&self.stage.ground().url, queue, count).await
    }

    async fn get(&mut self, queue: &str) -> Result<Option<Seen>> {
        let mut get = Get::new(queue);
        get.no_ack = true;
        let delivery = self.connection.channel().get_with(&get).await?;
        Ok(delivery.as_ref().map(Seen::from_rust))
    }

    async fn size(&mut self, queue: &str) -> Result<u64> {
        Ok(self.connection.size(queue).await?)
    }

    async fn serve(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>> {
        let mut consumer = consume(&self.connection, queue, 1).await?;
        let mut served = Vec::new();
        while served.len() < count {
            let request = next(&mut consumer).await?;
            let seen = Seen::from_rust(&request);
            let properties = request.properties();
            let reply_to = properties.reply_to.as_deref();
            let reply_to = reply_to.ok_or_else(|| Failure::own("a request without reply_to"))?;
            let correlation_id = properties.correlation_id.clone();
            let echo = json!({ "echo": seen.json()? });
            self.producer
                .publish(&Body(&echo))
                .to("", reply_to)
                .with_properties(|properties| properties.correlation_id = correlation_id)
                .await?;
            request.ack().await?;
            served.push(seen);
        }
        consumer.close().await?;
        Ok(served)
    }

    async fn call(&mut self, queue: &str, body: &Json) -> Result<Seen> {
        let exclusive = self.stage.can().exclusive_queues;
        let replies = self.stage.queue("replies").durable(false).exclusive(exclusive);
        let mut consumer = self.connection.consumer(&replies).start().await?;
        let id = self.stage.name("call");
        self.producer
            .clone()
            .serializer("json")
            .publish(&Body(body))
            .to("", queue)
            .reply_to(replies.name())
            .correlation_id(&id)
            .await?;
        let reply = next(&mut consumer).await?;
        let seen = Seen::from_rust(&reply);
        assert_eq!(seen.properties["correlation_id"], id.as_str());
        reply.ack().await?;
        consumer.close().await?;
        Ok(seen)
    }
}

/// Starts to configure a connection that fails soon rather than late.
pub(crate) fn builder(url: &str) -> ConnectionBuilder {
    kombu::connection(url)
        .retry(RetryPolicy::once())
        .operation_timeout(Duration::from_secs(20))
        .publish_timeout(Duration::from_secs(20))
        .client_name("kombu-interop")
}

/// A consumer of a queue that exists.
pub(crate) async fn consume(
    connection: &Connection,
    queue: &str,
    prefetch: usize,
) -> Result<Consumer> {
    let queue = Queue::new(queue).no_declare();
    Ok(connection.consumer(queue).prefetch(u16::try_from(prefetch)?).start().await?)
}

/// The next message, which must come.
pub(crate) async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    let next = timeout(PATIENCE, consumer.next()).await;
    let next = next.map_err(|_elapsed| Failure::own(format!("no message within {PATIENCE:?}")))?;
    Ok(next.ok_or_else(|| Failure::own("the consumer has ended"))??)
}

fn headers(post: &Post) -> Result<Table> {
    let convert = |(name, value): (&String, &Json)| Ok((name.clone(), notation::to_value(value)?));
    post.headers.iter().map(convert).collect()
}

/// The bytes of a body that is sent as it is.
fn bare(body: &Json) -> Result<bytes::Bytes> {
    match notation::to_value(body)? {
        kombu::Value::Bytes(bytes) => Ok(bytes),
        kombu::Value::Text(text) => Ok(text.into()),
        other => Err(Failure::own(format!("a bare body is text or bytes, not {other:?}"))),
    }
}

/// Sets what Python calls `name`.
fn set(publication: Publication, name: &str, value: &Json) -> Result<Publication> {
    let wrong = || Failure::own(format!("{name} cannot be {value}"));
    let text = || value.as_str().ok_or_else(wrong);
    let number = || value.as_u64().ok_or_else(wrong);
    Ok(match name {
        "app_id" => publication.app_id(text()?),
        "compression" => publication.compression(text()?),
        "correlation_id" => publication.correlation_id(text()?),
        "delivery_mode" => {
            publication.delivery_mode(DeliveryMode::from_number(u8::try_from(number()?)?))
        }
        "expiration" => {
            publication.expires(Duration::from_secs_f64(value.as_f64().ok_or_else(wrong)?))
        }
        "message_id" => publication.message_id(text()?),
        "priority" => publication.priority(u8::try_from(number()?)?),
        "reply_to" => publication.reply_to(text()?),
        "timestamp" => publication.timestamp(number()?),
        "type" => publication.kind(text()?),
        "user_id" => publication.user_id(text()?),
        _ => return Err(Failure::own(format!("no publication has {name}"))),
    })
}
