//! Bindings in Redis, exchanges and the properties of queues in this process.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use kombu_core::{Error, ErrorKind, Exchange, ExchangeType, Queue, Result};
use kombu_virtual::{Destination, LocalTopology, Route, Topology, expiry, topic};
use tokio::time::Instant;

use crate::core::Core;
use crate::keys::Member;
use crate::scripts::{BIND_EXPIRING, number};

/// Exchanges, bindings and queues as one connection knows them.
///
/// Bindings are those of the server. The type of an exchange is kept nowhere: of one that was not
/// declared here it follows from its bindings.
#[derive(Debug)]
pub(crate) struct RedisTopology {
    core: Arc<Core>,
    local: LocalTopology,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: HashMap<String, Table>,
    /// The bindings that were made here, by queue: exchange and member.
    bound: HashMap<String, Vec<(String, Bytes)>>,
    expiring: HashMap<String, Expiring>,
}

/// The bindings of an exchange at a version.
#[derive(Clone, Debug)]
struct Table {
    version: u64,
    kind: Option<ExchangeType>,
    routes: Arc<[Route]>,
}

/// A queue that goes when it is not used.
#[derive(Debug)]
struct Expiring {
    after: Duration,
    last_used: Instant,
    /// When its lists were told to live on.
    refreshed: Option<Instant>,
    consumers: usize,
}

impl RedisTopology {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, local: LocalTopology::new(), state: Mutex::default() }
    }

    /// After which time without use a queue goes, if it does.
    pub(crate) fn expires(&self, queue: &str) -> Option<Duration> {
        self.lock().expiring.get(queue).map(|expiring| expiring.after)
    }

    pub(crate) fn consumers_changed(&self, queue: &str, more: bool) {
        if let Some(expiring) = self.lock().expiring.get_mut(queue) {
            expiring.consumers =
                if more { expiring.consumers + 1 } else { expiring.consumers.saturating_sub(1) };
            expiring.last_used = Instant::now();
        }
    }

    /// Notes the use of a queue; its time if its lists are to be told to live on.
    pub(crate) fn used(&self, queue: &str) -> Option<Duration> {
        let mut state = self.lock();
        let expiring = state.expiring.get_mut(queue)?;
        let now = Instant::now();
        expiring.last_used = now;
        let due = expiring.refreshed.is_none_or(|last| now - last >= expiring.after / 3);
        if due {
            expiring.refreshed = Some(now);
        }
        due.then_some(expiring.after)
    }

    /// Bindings of queues that expire must be renewed, or Kombu's clean-up takes them.
    pub(crate) async fn renew_bindings(&self) -> Result<()> {
        let due: Vec<_> = {
            let state = self.lock();
            let used = |name: &String| {
                state.expiring.get(name).filter(|one| one.consumers > 0).map(|one| one.after)
            };
            let of = |(name, made): (&String, &Vec<(String, Bytes)>)| {
                used(name).map(|after| (after, made.clone()))
            };
            state.bound.iter().filter_map(of).collect()
        };
        for (after, made) in due {
            for (exchange, member) in made {
                self.bind_expiring(&exchange, member, after).await?;
            }
        }
        Ok(())
    }

    /// The targets of a message that was restored from a record, by the stored bindings alone.
    pub(crate) async fn targets(&self, exchange: &str, key: &str) -> Result<Vec<String>> {
        if exchange.is_empty() {
            return Ok(vec![key.to_owned()]);
        }
        let fanout = self.local.exchange(exchange).await?;
        if fanout.is_some_and(|exchange| *exchange.kind() == ExchangeType::Fanout) {
            return Ok(Vec::new());
        }
        let members = self.members(exchange).await?;
        let fits = |member: &&Member| {
            if member.pattern.is_empty() {
                member.routing_key == key
            } else {
                topic::matches(&member.routing_key, key)
            }
        };
        let mut queues: Vec<_> =
            members.iter().filter(fits).map(|member| member.queue.clone()).collect();
        queues.sort_unstable();
        queues.dedup();
        Ok(queues)
    }

    async fn members(&self, exchange: &str) -> Result<Vec<Member>> {
        let stored = self.core.call("SMEMBERS", vec![self.core.keys.bindings(exchange)]).await?;
        let stored = stored.into_all_bytes()?;
        Ok(stored.iter().filter_map(|member| self.core.keys.read_member(member)).collect())
    }

    async fn table(&self, exchange: &str) -> Result<Table> {
        let version = self.core.version.load(Ordering::Acquire);
        if self.core.tracked
            && let Some(table) = self.lock().tables.get(exchange)
            && table.version == version
        {
            return Ok(table.clone());
        }
        let members = self.members(exchange).await?;
        let kind = if members.iter().any(|member| !member.pattern.is_empty()) {
            Some(ExchangeType::Topic)
        } else if members.iter().any(|member| !member.routing_key.is_empty()) {
            Some(ExchangeType::Direct)
        } else {
            None
        };
        let route = |member: Member| {
            Route::new(exchange, member.routing_key, Destination::Queue(member.queue.into()))
        };
        let routes = members.into_iter().map(route).collect();
        let table = Table { version, kind, routes };
        self.lock().tables.insert(exchange.to_owned(), table.clone());
        Ok(table)
    }

    async fn bind_expiring(&self, exchange: &str, member: Bytes, after: Duration) -> Result<()> {
        let keys = [self.core.keys.bindings(exchange), self.core.keys.deadlines(exchange)];
        // As Kombu has it: twice the time, an hour at least.
        let live = (after * 2).max(Duration::from_secs(3600)).as_millis();
        let arguments = [member, Bytes::from(exchange.to_owned()), number(live)];
        self.core.run(BIND_EXPIRING, &keys, arguments).await.map(drop)
    }

    async fn remove_members(&self, exchange: &str, members: Vec<Bytes>) -> Result<()> {
        if members.is_empty() {
            return Ok(());
        }
        for key in [self.core.keys.bindings(exchange), self.core.keys.permanent(exchange)] {
            let arguments = std::iter::once(key).chain(members.iter().cloned()).collect();
            self.core.call("SREM", arguments).await?;
        }
        Ok(())
    }

    async fn kind(&self, exchange: &str) -> Result<Option<ExchangeType>> {
        match self.local.exchange(exchange).await? {
            Some(exchange) => Ok(Some(exchange.kind().clone())),
            None if exchange.starts_with("amq.") => {
                Ok(Some(ExchangeType::from(exchange.trim_start_matches("amq."))))
            }
            None => Ok(self.table(exchange).await?.kind),
        }
    }

    fn remember(&self, queue: &str, made: (String, Bytes)) {
        let mut state = self.lock();
        let bound = state.bound.entry(queue.to_owned()).or_default();
        if !bound.contains(&made) {
            bound.push(made);
        }
    }

    /// Ends subscriptions that no queue needs any more.
    async fn unsubscribe(&self, exchanges: &[String]) -> Result<()> {
        for exchange in exchanges {
            let pattern = self.core.keys.channel_pattern(exchange);
            let channel = self.core.keys.channel(exchange, "");
            self.core.link.unsubscribe(&channel, pattern.as_deref()).await?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Topology for RedisTopology {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        if *exchange.kind() == ExchangeType::Fanout && exchange.name().contains('/') {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "fanout exchange {:?} has a slash, which divides exchange and routing key in \
                     the names of channels",
                    exchange.name()
                ),
            ));
        }
        // What the bindings tell of its type: patterns are a topic exchange's.
        let is_topic = *exchange.kind() == ExchangeType::Topic;
        if let Some(kind) = self.table(exchange.name()).await?.kind
            && (kind == ExchangeType::Topic) != is_topic
        {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "exchange {:?} has the bindings of a {kind} exchange, and is declared as {}",
                    exchange.name(),
                    exchange.kind()
                ),
            ));
        }
        self.local.declare_exchange(exchange).await?;
        self.core.changed();
        Ok(())
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        if let Some(exchange) = self.local.exchange(name).await? {
            return Ok(Some(exchange));
        }
        let kind = self.table(name).await?.kind;
        Ok(kind.map(|kind| Arc::new(Exchange::new(name, kind.as_str()))))
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        let keys = &self.core.keys;
        self.local.delete_exchange(name).await?;
        for key in [keys.bindings(name), keys.permanent(name)] {
            self.core.call("DEL", vec![key]).await?;
        }
        let forget = vec![keys.deadlines(name), Bytes::from(name.to_owned())];
        self.core.call("ZREM", forget).await?;
        for made in self.lock().bound.values_mut() {
            made.retain(|(exchange, _)| exchange != name);
        }
        self.core.changed();
        if self.core.fanout.remove_exchange(name) {
            self.unsubscribe(&[name.to_owned()]).await?;
        }
        Ok(())
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("redis", "exchange_bindings"));
        };
        let kind = self.kind(&route.exchange).await?;
        let pattern = match kind {
            Some(ExchangeType::Topic) => topic::pattern(&route.routing_key),
            _ => String::new(),
        };
        let routing_key = route.routing_key.clone();
        let member = Member { routing_key, pattern, queue: (**queue).to_owned() };
        let stored = self.core.keys.member(&member);
        if kind == Some(ExchangeType::Fanout) && self.core.fanout.add(&route.exchange, queue) {
            let pattern = self.core.keys.channel_pattern(&route.exchange);
            let channel = self.core.keys.channel(&route.exchange, "");
            self.core.link.subscribe(&channel, pattern.as_deref()).await?;
        }
        match self.expires(queue) {
            Some(after) => self.bind_expiring(&route.exchange, stored.clone(), after).await?,
            None => {
                let keys = &self.core.keys;
                for key in [keys.bindings(&route.exchange), keys.permanent(&route.exchange)] {
                    self.core.call("SADD", vec![key, stored.clone()]).await?;
                }
            }
        }
        self.remember(queue, (route.exchange.clone(), stored));
        self.core.changed();
        Ok(())
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        let Destination::Queue(queue) = &route.destination else {
            return Err(Error::unsupported("redis", "exchange_bindings"));
        };
        // Whatever pattern a version of Kombu wrote beside the key.
        let same =
            |member: &Member| member.queue == **queue && member.routing_key == route.routing_key;
        let members = self.members(&route.exchange).await?;
        let gone: Vec<_> = members
            .iter()
            .filter(|member| same(member))
            .map(|member| self.core.keys.member(member))
            .collect();
        self.remove_members(&route.exchange, gone.clone()).await?;
        let left = self.lock().bound.get_mut(&**queue).is_some_and(|bound| {
            bound
                .retain(|(exchange, member)| *exchange != route.exchange || !gone.contains(member));
            bound.iter().any(|(exchange, _)| *exchange == route.exchange)
        });
        self.core.changed();
        if !left {
            let exchanges = self.core.fanout.remove(Some(&route.exchange), queue);
            self.unsubscribe(&exchanges).await?;
        }
        Ok(())
    }

    fn version(&self) -> Option<u64> {
        self.core.tracked.then(|| self.core.version.load(Ordering::Acquire))
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        Ok(self.table(exchange).await?.routes)
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        self.local.declare_queue(queue).await?;
        if let Some(after) = expiry::of_queue(queue) {
            let mut state = self.lock();
            let now = Instant::now();
            let expiring = state.expiring.entry(queue.name().to_owned()).or_insert(Expiring {
                after,
                last_used: now,
                refreshed: None,
                consumers: 0,
            });
            expiring.last_used = now;
        }
        self.core.changed();
        Ok(())
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        let unused = self
            .lock()
            .expiring
            .get(name)
            .is_some_and(|one| one.consumers == 0 && one.last_used.elapsed() >= one.after);
        if unused {
            self.forget_queue(name).await?;
        }
        self.local.queue(name).await
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        let made = {
            let mut state = self.lock();
            state.expiring.remove(name);
            state.bound.remove(name).unwrap_or_default()
        };
        for (exchange, member) in made {
            self.remove_members(&exchange, vec![member]).await?;
        }
        // The default exchange has the queue by its name.
        let own =
            Member { routing_key: name.to_owned(), pattern: String::new(), queue: name.to_owned() };
        self.core
            .call("SREM", vec![self.core.keys.bindings(""), self.core.keys.member(&own)])
            .await?;
        self.local.forget_queue(name).await?;
        self.core.changed();
        let exchanges = self.core.fanout.remove(None, name);
        self.unsubscribe(&exchanges).await
    }
}
