//! RabbitMQ's delayed delivery: one side's exchanges and queues serve the other's messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kombu::transport::{ConnectParams, RawChannel, RawConnection, Transport};
use kombu::transports::amqp::AmqpTransport;
use kombu::transports::amqp::delayed::{DelayedDelivery, LevelQueues, delayed_routing_key};
use kombu::{BrokerUrl, Exchange, ExchangeType, Options, Queue};
use serde_json::json;

use crate::case::cases;
use crate::entity;
use crate::failure::Result;
use crate::pair::Pair;
use crate::peer::Peer;
use crate::post::Post;
use crate::side::Language;

cases! {
    classic_levels ["on amqp", "delayed_delivery"];
    quorum_levels ["on amqp", "delayed_delivery", "quorum_queues"];
    keys_are_equal ["on amqp", "delayed_delivery", "from python"];
}

async fn classic_levels(pair: &mut Pair) -> Result<()> {
    delivered_later(pair, LevelQueues::Classic, "classic").await
}

async fn quorum_levels(pair: &mut Pair) -> Result<()> {
    delivered_later(pair, LevelQueues::Quorum, "quorum").await
}

/// The levels in both languages.
struct Levels {
    delayed: DelayedDelivery,
    prefix: String,
    queue_type: &'static str,
    peer: Peer,
    channel: Arc<dyn RawChannel>,
    /// Ends the channel when dropped.
    _connection: Arc<dyn RawConnection>,
}

impl Levels {
    async fn new(pair: &Pair, levels: LevelQueues, queue_type: &'static str) -> Result<Self> {
        let prefix = pair.stage.name(queue_type);
        let delayed = DelayedDelivery::new().prefix(&prefix).queue_type(levels);
        for level in 0..28 {
            pair.stage.clear_later(&format!("{prefix}_celery_delayed_{level}"));
        }
        pair.stage.clear_later(&delayed.delivery_exchange());
        let url = BrokerUrl::parse(&pair.stage.ground().url)?;
        let params = ConnectParams::new(url, Options::new())?;
        let connection = AmqpTransport::new().connect(&params).await?;
        let channel = connection.open_channel().await?;
        let peer = Peer::start(pair.stage.ground())?;
        Ok(Self { delayed, prefix, queue_type, peer, channel, _connection: connection })
    }

    async fn declare(&mut self, language: Language) -> Result<()> {
        match language {
            Language::Python => {
                let arguments = json!({ "prefix": self.prefix, "queue_type": self.queue_type });
                self.peer.ask("declare_delayed", arguments).await.map(drop)
            }
            Language::Rust => Ok(self.delayed.declare(&*self.channel).await?),
        }
    }

    async fn bind(&mut self, language: Language, queue: &Queue) -> Result<()> {
        match language {
            Language::Python => {
                let arguments = json!({ "prefix": self.prefix, "queue": entity::queue(queue) });
                self.peer.ask("bind_delayed", arguments).await.map(drop)
            }
            Language::Rust => Ok(self.delayed.bind(&*self.channel, queue).await?),
        }
    }

    async fn key(&mut self, language: Language, delay: Duration, key: &str) -> Result<String> {
        match language {
            Language::Python => {
                let arguments = json!({ "seconds": delay.as_secs(), "routing_key": key });
                let key = self.peer.ask("delayed_key", arguments).await?;
                Ok(key.as_str().unwrap_or_default().to_owned())
            }
            Language::Rust => Ok(delayed_routing_key(delay, key)?),
        }
    }
}

/// The sender declares the levels and publishes, the receiver accepts them and binds its queue.
async fn delivered_later(
    pair: &mut Pair,
    levels: LevelQueues,
    queue_type: &'static str,
) -> Result<()> {
    let (sends, receives) = match pair.sends() {
        Language::Python => (Language::Python, Language::Rust),
        Language::Rust => (Language::Rust, Language::Python),
    };
    let mut levels = Levels::new(pair, levels, queue_type).await?;
    levels.declare(sends).await?;
    levels.declare(receives).await?;

    let exchange = pair.stage.exchange("exchange", ExchangeType::Topic);
    let queue = pair.stage.queue("queue").bind(&exchange, "video.new");
    pair.receiver.declare(&queue).await?;
    levels.bind(receives, &queue).await?;

    // Level 1 holds it for two seconds, level 0 passes it on at once.
    let delay = Duration::from_secs(2);
    let key = levels.key(sends, delay, "video.new").await?;
    let target = Exchange::topic(levels.delayed.publish_exchange());
    let begun = Instant::now();
    pair.send(Post::new("later").to(&target, &key)).await?;
    assert!(pair.receiver.get(queue.name()).await?.is_none(), "it is not delayed");

    let seen = pair.receive_one(&queue).await?;
    let took = begun.elapsed();
    assert!(took >= delay && took < delay * 3, "it took {took:?}");
    assert_eq!(seen.text()?, "later");
    assert_eq!(seen.routing_key, key.as_str());
    Ok(())
}

async fn keys_are_equal(pair: &mut Pair) -> Result<()> {
    let mut levels = Levels::new(pair, LevelQueues::Classic, "classic").await?;
    let mut key = "video.new".to_owned();
    for seconds in [1, 2, 3, 86_400, (1 << 28) - 1] {
        let delay = Duration::from_secs(seconds);
        let python = levels.key(Language::Python, delay, &key).await?;
        let rust = levels.key(Language::Rust, delay, &key).await?;
        assert_eq!(python, rust, "{seconds}");
        // The next delay replaces the digits of this one.
        key = rust;
    }
    Ok(())
}
