//! The Python side.

use async_trait::async_trait;
use kombu::{Exchange, Outcome, Queue};
use serde_json::{Value as Json, json};

use crate::entity;
use crate::failure::{Failure, Result};
use crate::peer::Peer;
use crate::post::Post;
use crate::seen::Seen;
use crate::side::{PATIENCE, Side};
use crate::transport::Ground;

/// A Python Kombu.
#[derive(Debug)]
pub(crate) struct Python {
    peer: Peer,
    /// Tags of messages that are not settled.
    held: Vec<Json>,
    /// What it decodes beside what it always does.
    accepted: Vec<&'static str>,
}

impl Python {
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        Ok(Self { peer: Peer::start(ground)?, held: Vec::new(), accepted: Vec::new() })
    }
}

#[async_trait]
impl Side for Python {
    async fn declare_exchange(&mut self, exchange: &Exchange) -> Result<()> {
        let exchanges = [entity::exchange(exchange)];
        self.peer.ask("declare", json!({ "exchanges": exchanges })).await.map(drop)
    }

    async fn declare(&mut self, queue: &Queue) -> Result<()> {
        let queues = [entity::queue(queue)];
        self.peer.ask("declare", json!({ "queues": queues })).await.map(drop)
    }

    async fn declare_with(&mut self, queue: &Queue, options: &Json) -> Result<()> {
        let mut given = entity::queue(queue);
        given["queue_arguments"] = Json::Null;
        for (name, value) in options.as_object().into_iter().flatten() {
            given[name] = value.clone();
        }
        self.peer.ask("declare", json!({ "queues": [given] })).await.map(drop)
    }

    async fn publish(&mut self, posts: &[Post]) -> Result<()> {
        for post in posts {
            let mut arguments = json!({
                "body": post.body,
                "exchange": post.exchange.as_ref().map(Exchange::name),
                "routing_key": post.routing_key,
                "headers": post.headers,
            });
            for (name, value) in &post.options {
                arguments[name] = value.clone();
            }
            self.peer.ask("publish", arguments).await?;
        }
        Ok(())
    }

    fn accept(&mut self, names: &[&'static str]) {
        self.accepted = ["json", "text/plain"].iter().chain(names).copied().collect();
    }

    async fn hold(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>> {
        let mut arguments = json!({
            "queues": [queue],
            "count": count,
            "settle": "hold",
            "timeout": PATIENCE.as_secs(),
        });
        if !self.accepted.is_empty() {
            arguments["accept"] = json!(self.accepted);
        }
        let messages = list(self.peer.ask("consume", arguments).await?)?;
        if messages.len() < count {
            let came = messages.len();
            return Err(Failure::own(format!("{came} of {count} messages came: {messages:?}")));
        }
        self.held.extend(messages.iter().map(|message| message["tag"].clone()));
        messages.into_iter().map(Seen::from_python).collect()
    }

    async fn settle(&mut self, outcome: Outcome) -> Result<()> {
        let how = match outcome {
            Outcome::Ack => "ack",
            Outcome::Reject => "reject",
            Outcome::Requeue => "requeue",
            other => return Err(Failure::own(format!("no word for {other:?}"))),
        };
        let tags = std::mem::take(&mut self.held);
        self.peer.ask("settle", json!({ "tags": tags, "how": how })).await.map(drop)
    }

    async fn hold_and_die(&mut self, queue: &str, count: usize) -> Result<()> {
        self.hold(queue, count).await?;
        self.peer.kill().await
    }

    async fn get(&mut self, queue: &str) -> Result<Option<Seen>> {
        let message = self.peer.ask("get", json!({ "queue": queue, "no_ack": true })).await?;
        if message.is_null() { Ok(None) } else { Seen::from_python(message).map(Some) }
    }

    async fn size(&mut self, queue: &str) -> Result<u64> {
        let size = self.peer.ask("size", json!({ "queue": queue })).await?;
        size.as_u64().ok_or_else(|| Failure::own(format!("no size: {size}")))
    }

    async fn serve(&mut self, queue: &str, count: usize) -> Result<Vec<Seen>> {
        let served = self.peer.ask("serve", json!({ "queue": queue, "count": count })).await?;
        list(served)?.into_iter().map(Seen::from_python).collect()
    }

    async fn call(&mut self, queue: &str, body: &Json) -> Result<Seen> {
        let reply = self.peer.ask("call", json!({ "routing_key": queue, "body": body })).await?;
        if reply.is_null() { Err(Failure::own("no reply")) } else { Seen::from_python(reply) }
    }
}

fn list(json: Json) -> Result<Vec<Json>> {
    match json {
        Json::Array(list) => Ok(list),
        other => Err(Failure::own(format!("not a list: {other}"))),
    }
}
