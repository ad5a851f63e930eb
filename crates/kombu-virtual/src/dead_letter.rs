//! Dead letters: what becomes of messages that a queue gives up.

use std::time::{SystemTime, UNIX_EPOCH};

use kombu_core::transport::Publish;
use kombu_core::{ErrorKind, Queue, Result, Table, Value};

use crate::routing::{self, Rules, Targets};
use crate::topology::Topology;

/// Why a message is given up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Its time was over.
    Expired,
    /// The queue was full.
    MaxLength,
    /// A consumer rejected it.
    Rejected,
}

impl Reason {
    /// The name in the header `x-death`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::Rejected => "rejected",
        }
    }
}

/// Where a queue's dead letters go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetters {
    queue: String,
    exchange: String,
    routing_key: Option<String>,
}

impl DeadLetters {
    /// Reads a queue's arguments `x-dead-letter-exchange` and `x-dead-letter-routing-key`; `None`
    /// for a queue that drops what it gives up.
    #[must_use]
    pub fn of(queue: &Queue) -> Option<Self> {
        let text = |name| queue.arguments().get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            queue: queue.name().to_owned(),
            exchange: text("x-dead-letter-exchange")?,
            routing_key: text("x-dead-letter-routing-key"),
        })
    }

    /// What is published in place of a message that the queue gives up: the message with the
    /// header `x-death`, without its expiration, for the dead letter exchange.
    ///
    /// The header is a list with the latest death first, each a table of `count`, `reason`,
    /// `queue`, `time`, `exchange`, `routing-keys` and, if the message had one,
    /// `original-expiration`; deaths in the same queue for the same reason are counted together.
    /// `x-first-death-reason`, `-queue` and `-exchange` keep what the first one was.
    #[must_use]
    pub fn letter(&self, publish: &Publish, reason: Reason) -> Publish {
        let mut message = publish.message.clone();
        let expiration = message.properties.expiration.take();
        let headers = &mut message.properties.headers;
        let mut deaths = match headers.remove("x-death") {
            Some(Value::List(deaths)) => deaths,
            _ => Vec::new(),
        };
        let same = deaths.iter().position(|death| self.is_same(death, reason));
        let count = same.map_or(1, |at| {
            let former = deaths.remove(at);
            former.as_table().and_then(|death| death.get("count")?.as_i64()).unwrap_or(0) + 1
        });
        let mut death = Table::new()
            .with("count", count)
            .with("reason", reason.as_str())
            .with("queue", &self.queue)
            .with("time", Value::Timestamp(now()))
            .with("exchange", &publish.exchange)
            .with("routing-keys", vec![Value::from(&publish.routing_key)]);
        if let Some(expiration) = expiration {
            death.insert("original-expiration", expiration);
        }
        deaths.insert(0, death.into());
        headers.insert("x-death", deaths);
        if !headers.contains("x-first-death-reason") {
            headers.insert("x-first-death-reason", reason.as_str());
            headers.insert("x-first-death-queue", &self.queue);
            headers.insert("x-first-death-exchange", &publish.exchange);
        }
        let routing_key = self.routing_key.as_ref().unwrap_or(&publish.routing_key);
        Publish::new(&self.exchange, routing_key, message)
    }

    fn is_same(&self, death: &Value, reason: Reason) -> bool {
        let Some(death) = death.as_table() else { return false };
        let text = |name| death.get(name).and_then(Value::as_str);
        text("queue") == Some(&self.queue) && text("reason") == Some(reason.as_str())
    }
}

/// Finds the queues for a letter. An exchange that is missing leads nowhere.
///
/// Left out are the queues in which the letter died already, unless a consumer rejected it on the
/// way: otherwise it would go round for ever.
///
/// # Errors
///
/// Those of the topology.
pub async fn route(topology: &dyn Topology, letter: &Publish) -> Result<Targets> {
    let rules = Rules { implicit_queues: false, native_exchanges: &[] };
    match routing::route(topology, rules, letter).await {
        Ok(mut found) => {
            break_circle(&mut found.targets, letter);
            Ok(found.targets)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Targets::default()),
        Err(error) => Err(error),
    }
}

fn break_circle(targets: &mut Targets, letter: &Publish) {
    let Some(deaths) = letter.message.properties.headers.get("x-death").and_then(Value::as_list)
    else {
        return;
    };
    let text = |death: &Value, name| {
        death.as_table().and_then(|death| death.get(name)?.as_str().map(str::to_owned))
    };
    if deaths.iter().any(|death| text(death, "reason").as_deref() == Some("rejected")) {
        return;
    }
    let died: Vec<_> = deaths.iter().filter_map(|death| text(death, "queue")).collect();
    targets.queues.retain(|queue| !died.iter().any(|name| **name == **queue));
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use kombu_core::{Message, Properties};

    use super::*;

    fn queue() -> Queue {
        Queue::new("q").argument("x-dead-letter-exchange", "dlx")
    }

    #[test]
    fn deaths_in_one_queue_for_one_reason_are_counted() {
        let letters = DeadLetters::of(&queue()).unwrap();
        let mut properties = Properties::new();
        properties.expiration = Some("10".into());
        let first =
            letters.letter(&Publish::new("e", "k", Message::new("x", properties)), Reason::Expired);
        assert_eq!((first.exchange.as_str(), first.routing_key.as_str()), ("dlx", "k"));
        assert_eq!(first.message.properties.expiration, None);
        let second = letters.letter(&first, Reason::Expired);
        let third = letters.letter(&second, Reason::Rejected);
        let deaths = third.message.properties.headers.get("x-death").unwrap().as_list().unwrap();
        let field = |at: usize, name: &str| deaths[at].as_table().unwrap().get(name).cloned();
        assert_eq!(deaths.len(), 2);
        assert_eq!(field(0, "reason"), Some("rejected".into()));
        assert_eq!(field(1, "count"), Some(2.into()));
        assert_eq!(
            third.message.properties.headers.get("x-first-death-reason"),
            Some(&"expired".into())
        );
    }

    #[test]
    fn a_circle_without_rejection_is_broken() {
        let letters = DeadLetters::of(&queue()).unwrap();
        let letter = letters.letter(&Publish::new("", "q", Message::default()), Reason::Expired);
        let mut targets = Targets { queues: vec!["q".into(), "r".into()], ..Targets::default() };
        break_circle(&mut targets, &letter);
        assert_eq!(targets, Targets::queue("r"));
        let letter = letters.letter(&letter, Reason::Rejected);
        let mut targets = Targets::queue("q");
        break_circle(&mut targets, &letter);
        assert_eq!(targets, Targets::queue("q"));
    }

    #[test]
    fn a_queue_without_the_argument_has_no_letters() {
        assert_eq!(DeadLetters::of(&Queue::new("q")), None);
    }
}
