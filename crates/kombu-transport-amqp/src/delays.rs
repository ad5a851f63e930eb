//! Publishing for later: through the levels of [`crate::delayed`], and from there to the exchange
//! that was meant, with its own routing key.
//!
//! What leaves the levels has its digits before its key, and goes by that key alone. So each place
//! that delayed messages go to has a queue behind the levels, which hands them on at once: its dead
//! letter exchange is the exchange that was meant, whatever type it has. Consumers see nothing of
//! it. These queues go when they were not needed for long.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kombu_core::transport::{BindQueue, Publish, RawChannel};
use kombu_core::{Binding, Error, ErrorKind, Exchange, ExchangeType, Result};
use tokio::time::Instant;

use crate::connection::Shared;
use crate::delayed::{DelayedDelivery, LevelQueues, delayed_routing_key};

/// What one connection has declared.
#[derive(Debug, Default)]
pub(crate) struct Delays(tokio::sync::Mutex<Declared>);

#[derive(Debug, Default)]
struct Declared {
    levels: Option<DelayedDelivery>,
    /// The keys of places, and when their queues were declared.
    places: HashMap<String, Instant>,
}

/// How long a place's queue stays without being declared again, for delays up to a limit.
#[derive(Clone, Copy, Debug)]
struct Life {
    longest_delay: Duration,
    expires: Duration,
    name: &'static str,
}

impl Delays {
    /// The publish that makes a message arrive when it is due.
    pub(crate) async fn delay(
        &self,
        connection: &Arc<Shared>,
        publish: Arc<Publish>,
    ) -> Result<Arc<Publish>> {
        let Some(due) = publish.due_later() else { return Ok(publish) };
        check(&publish)?;
        let delay = due.saturating_duration_since(Instant::now());
        let life = LIVES.iter().find(|life| delay <= life.longest_delay);
        let life = life.ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, "a message can be delayed for 8 years at most")
        })?;
        let place = place(life, &publish.exchange, &publish.routing_key);
        // What does not fit is found before anything is declared.
        delayed_routing_key(delay, &place)?;
        let exchange = {
            let mut declared = self.0.lock().await;
            let levels = match &declared.levels {
                Some(levels) => levels.clone(),
                None => declared.levels.insert(declare_levels(connection).await?).clone(),
            };
            let now = Instant::now();
            let lasts = declared
                .places
                .get(&place)
                .is_some_and(|since| now.duration_since(*since) + delay + MARGIN < life.expires);
            if !lasts {
                declare_place(connection, &levels, life, &place, &publish).await?;
                declared.places.retain(|_, since| now.duration_since(*since) < life.expires);
                declared.places.insert(place.clone(), now);
            }
            levels.publish_exchange()
        };
        // Declaring took its time.
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(publish);
        }
        let mut delayed = Publish::new(exchange, delayed_routing_key(left, &place)?, {
            let mut message = publish.message.clone();
            // Of an earlier journey. RabbitMQ before 4.0 takes what passes the same queues twice
            // for a loop, and drops it.
            message.properties.headers.remove("x-death");
            message
        });
        delayed.mandatory = false;
        Ok(Arc::new(delayed))
    }
}

/// Refuses what the levels would not keep.
fn check(publish: &Publish) -> Result<()> {
    let cannot = |what: &str| {
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("a delayed message cannot be {what}: RabbitMQ would not keep to it"),
        ))
    };
    if publish.message.properties.expiration.is_some() {
        return cannot("one that expires");
    }
    if publish.mandatory {
        return cannot("mandatory");
    }
    Ok(())
}

/// Declares the levels, with the type of queues that they have already, if they do.
async fn declare_levels(connection: &Arc<Shared>) -> Result<DelayedDelivery> {
    let channel = connection.open_channel().await?;
    let quorum = DelayedDelivery::new();
    match quorum.declare(&channel).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
            // The refusal has closed the channel.
            let channel = connection.open_channel().await?;
            let classic = DelayedDelivery::new().queue_type(LevelQueues::Classic);
            classic.declare(&channel).await?;
            channel.close().await?;
            Ok(classic)
        }
        declared => {
            declared?;
            channel.close().await?;
            Ok(quorum)
        }
    }
}

/// Declares the queue of a place, which exists.
async fn declare_place(
    connection: &Arc<Shared>,
    levels: &DelayedDelivery,
    life: &Life,
    place: &str,
    publish: &Publish,
) -> Result<()> {
    let channel = connection.open_channel().await?;
    if !publish.exchange.is_empty() {
        let meant = Exchange::new(&publish.exchange, ExchangeType::Direct).passive(true);
        channel.declare_exchange(&meant).await?;
    }
    let millis = i64::try_from(life.expires.as_millis()).unwrap_or(i64::MAX);
    let queue = levels
        .queue_for(place)
        .argument("x-message-ttl", 0)
        .argument("x-expires", millis)
        .argument("x-dead-letter-exchange", publish.exchange.as_str())
        .argument("x-dead-letter-routing-key", publish.routing_key.as_str());
    channel.declare_queue(&queue).await?;
    let arrived = Binding::new(Exchange::topic(levels.delivery_exchange()), format!("#.{place}"));
    channel.bind_queue(&BindQueue::new(queue.name(), arrived)).await?;
    channel.close().await
}

/// The name of a place's queue, which is also what its messages' keys end with. No two places have
/// the same, and nothing in it is a wildcard.
fn place(life: &Life, exchange: &str, routing_key: &str) -> String {
    let mut name = format!("kombu_delayed_{}_{}_", life.name, exchange.len());
    for c in exchange.chars().chain(['_']).chain(routing_key.chars()) {
        match c {
            '%' | '*' | '#' | '\n' | '\r' => {
                let _infallible = write!(name, "%{:02X}", u32::from(c));
            }
            _ => name.push(c),
        }
    }
    name
}

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The shorter a delay, the sooner a queue can go: there may be one for every routing key.
const LIVES: [Life; 3] = [
    Life { longest_delay: DAY, expires: DAY.saturating_mul(3), name: "days" },
    Life { longest_delay: DAY.saturating_mul(30), expires: DAY.saturating_mul(90), name: "months" },
    Life {
        longest_delay: DAY.saturating_mul(8 * 365),
        expires: DAY.saturating_mul(10 * 365 - 1),
        name: "years",
    },
];
/// How much longer than its messages a queue stays at least.
const MARGIN: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn places_have_names_of_their_own_without_wildcards() {
        let mut names = HashSet::new();
        for (exchange, key) in
            [("", "a"), ("a", ""), ("a_b", "c"), ("a", "b_c"), ("*", "#"), ("%2A", "%23"), ("", "")]
        {
            for life in &LIVES {
                let name = place(life, exchange, key);
                assert!(!name.contains(['*', '#']), "{name}");
                assert!(names.insert(name), "{exchange:?} {key:?}");
            }
        }
        assert_eq!(place(&LIVES[0], "media", "video.hd"), "kombu_delayed_days_5_media_video.hd");
    }

    #[test]
    fn what_the_levels_would_not_keep_to_is_refused() {
        let mut publish = Publish::new("", "q", kombu_core::Message::default());
        assert!(check(&publish).is_ok());
        publish.mandatory = true;
        assert_eq!(check(&publish).unwrap_err().kind(), ErrorKind::Unsupported);
        publish.mandatory = false;
        publish.message.properties.expiration = Some("1000".to_owned());
        assert_eq!(check(&publish).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
