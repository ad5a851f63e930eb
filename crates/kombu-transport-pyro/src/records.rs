//! Exchanges and bindings as names: each is the name of a queue that stays empty.
//!
//! Making a queue, deleting it and listing all names are single steps of the daemon's, and Python
//! looks in the list for the queues that it uses and for nothing else.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::TopologyRecords;
use tokio::time::{Duration, Instant};

use crate::call::{self, Argument};
use crate::link::Link;
use crate::lock::lock;

/// The names, as one connection knows them.
#[derive(Debug)]
pub(crate) struct Records {
    link: Arc<Link>,
    /// How often what was read became old, and when it last did.
    ages: Mutex<(u64, Instant)>,
}

/// What a name stands for.
#[derive(Debug, Eq, PartialEq)]
enum Record {
    /// An exchange, and its properties.
    Exchange(String, String),
    /// A binding of an exchange.
    Binding(String, String),
}

impl Records {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, ages: Mutex::new((0, Instant::now())) }
    }

    fn changed(&self) {
        self.link.shared().changes.fetch_add(1, Ordering::AcqRel);
    }

    /// All names that stand for something, in the order in which they were made.
    async fn all(&self) -> Result<Vec<(String, Record)>> {
        let names = self.link.queue_names().await?;
        let read = |name: String| Record::read(&name).map(|record| (name, record));
        Ok(names.into_iter().filter_map(read).collect())
    }
}

impl Record {
    fn name(&self) -> String {
        let (start, parts) = match self {
            Self::Exchange(name, properties) => (EXCHANGE, [name, properties]),
            Self::Binding(exchange, binding) => (BINDING, [exchange, binding]),
        };
        let mut name = start.as_bytes().to_vec();
        for (part, before) in parts.into_iter().zip(["[", ","]) {
            name.extend_from_slice(before.as_bytes());
            call::text(&mut name, part);
        }
        name.push(b']');
        String::from_utf8(name).unwrap_or_default()
    }

    fn read(name: &str) -> Option<Self> {
        let read = |text: &str| serde_json::from_str::<(String, String)>(text).ok();
        if let Some(text) = name.strip_prefix(EXCHANGE) {
            let (name, properties) = read(text)?;
            return Some(Self::Exchange(name, properties));
        }
        let (exchange, binding) = read(name.strip_prefix(BINDING)?)?;
        Some(Self::Binding(exchange, binding))
    }

    fn exchange(&self) -> &str {
        match self {
            Self::Exchange(name, _) | Self::Binding(name, _) => name,
        }
    }
}

#[async_trait]
impl TopologyRecords for Records {
    /// The daemon tells nobody of changes: what was read just now counts, and what was read before
    /// is read again.
    fn version(&self) -> u64 {
        let mut ages = lock(&self.ages);
        if ages.1.elapsed() >= JUST_NOW {
            *ages = (ages.0 + 1, Instant::now());
        }
        ages.0.wrapping_add(self.link.shared().changes.load(Ordering::Acquire))
    }

    async fn exchanges(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for (_, record) in self.all().await? {
            if !names.iter().any(|name| name == record.exchange()) {
                names.push(record.exchange().to_owned());
            }
        }
        Ok(names)
    }

    async fn read(&self, exchange: &str) -> Result<(Option<String>, Vec<String>)> {
        let (mut properties, mut bindings) = (None, Vec::new());
        for (_, record) in self.all().await? {
            match record {
                // Of two that were made at the same time the first counts, for everybody.
                Record::Exchange(name, text) if name == exchange => {
                    properties.get_or_insert(text);
                }
                Record::Binding(name, text) if name == exchange => bindings.push(text),
                _ => {}
            }
        }
        Ok((properties, bindings))
    }

    async fn create(&self, exchange: &str, properties: &str) -> Result<()> {
        if self.read(exchange).await?.0.is_none() {
            let record = Record::Exchange(exchange.to_owned(), properties.to_owned());
            self.link.make_queue(&record.name()).await?;
        }
        self.changed();
        Ok(())
    }

    async fn delete(&self, exchange: &str) -> Result<()> {
        let all = self.all().await?;
        let mine = all.iter().filter(|(_, record)| record.exchange() == exchange);
        let deletions: Vec<_> = mine.map(|(name, _)| self.link.delete_queue(name)).collect();
        let deleted = join_all(deletions).await.into_iter().collect();
        self.changed();
        deleted
    }

    async fn add(&self, exchange: &str, binding: &str) -> Result<()> {
        let record = Record::Binding(exchange.to_owned(), binding.to_owned());
        self.link.make_queue(&record.name()).await?;
        self.changed();
        Ok(())
    }

    async fn remove(&self, exchange: &str, binding: &str) -> Result<()> {
        let record = Record::Binding(exchange.to_owned(), binding.to_owned());
        self.link.delete_queue(&record.name()).await?;
        self.changed();
        Ok(())
    }
}

impl Link {
    /// The names of all queues.
    async fn queue_names(&self) -> Result<Vec<String>> {
        match self.call("get_queue_names", &[]).await? {
            Ok(data) => call::value("get_queue_names", &data),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    /// Deletes a queue; a missing one is no error. The request is queued before this returns.
    pub(crate) fn delete_queue(
        &self,
        queue: &str,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let sent = self.call("delete", &[Argument::Text(queue)]);
        async move {
            match sent.await? {
                Err(refusal) if !refusal.is_missing() => Err(refusal.into_error()),
                _ => Ok(()),
            }
        }
    }
}

/// Checks that a name is free for a queue.
pub(crate) fn check_queue(name: &str) -> Result<()> {
    if name.starts_with(EXCHANGE) || name.starts_with(BINDING) {
        let message = format!(
            "names that start with {EXCHANGE} or {BINDING} are those of exchanges and bindings"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

const EXCHANGE: &str = "_kombu.exchange:";
const BINDING: &str = "_kombu.binding:";

/// How long exchanges and bindings count as just read. What the same transport value changes
/// counts at once.
const JUST_NOW: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_stand_for() {
        let exchange = Record::Exchange("a\"b".to_owned(), "{\"type\":\"topic\"}".to_owned());
        assert_eq!(exchange.name(), r#"_kombu.exchange:["a\"b","{\"type\":\"topic\"}"]"#);
        let binding = Record::Binding("ä".to_owned(), "{}".to_owned());
        for record in [exchange, binding] {
            let name = record.name();
            assert!(check_queue(&name).is_err());
            assert_eq!(Record::read(&name), Some(record));
        }
        for other in ["video", "_kombu.exchange:", "_kombu.binding:[1]", "_kombu.binding.x"] {
            assert_eq!(Record::read(other), None, "{other}");
        }
        check_queue("_kombu.binding.x").unwrap();
    }
}
