//! Exchanges, bindings and the properties of queues, in tables of this crate.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kombu_core::codec::json;
use kombu_core::{Error, ErrorKind, Exchange, Queue, Result, Table, Value};
use kombu_virtual::{LocalTopology, Route, Topology};
use tokio::time::Instant;

use crate::core::{Core, check_name};
use crate::entity;
use crate::session::{Cell, Column, Sql, Step};

/// The tables as one connection knows them.
#[derive(Debug)]
pub(crate) struct SqlTopology {
    core: Arc<Core>,
    sql: Statements,
    known: Mutex<Known>,
}

/// What was read, at a version of the tables.
#[derive(Debug, Default)]
struct Known {
    version: i64,
    /// What this process had changed by then.
    changes: u64,
    checked: Option<Instant>,
    exchanges: HashMap<String, Option<Arc<Exchange>>>,
    queues: HashMap<String, Option<Arc<Queue>>>,
    routes: HashMap<String, Arc<[Route]>>,
}

#[derive(Debug)]
struct Statements {
    version: Sql,
    change: Sql,
    find: Sql,
    add: Sql,
    remove: Sql,
    routes: Sql,
    routes_to: Sql,
    same: Sql,
    bind: Sql,
    unbind: Sql,
    unbind_from: Sql,
    unbind_to: Sql,
}

impl SqlTopology {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let fill = |text: &str| core.statements.fill(text);
        let route = "[exchange] = ? AND [routing_key] = ? AND [kind] = ? AND [destination] = ? \
                     AND [arguments] = ?";
        let sql = Statements {
            version: fill("SELECT [version] FROM {e} WHERE [kind] = 'v'"),
            change: fill("UPDATE {e} SET [version] = [version] + 1 WHERE [kind] = 'v'"),
            find: fill("SELECT [properties] FROM {e} WHERE [kind] = ? AND [name] = ?"),
            add: fill(
                "INSERT INTO {e} ([kind], [name], [properties], [version]) VALUES (?, ?, ?, 0)",
            ),
            remove: fill("DELETE FROM {e} WHERE [kind] = ? AND [name] = ?"),
            routes: fill(
                "SELECT [exchange], [routing_key], [kind], [destination], [arguments] FROM {b} \
                 WHERE [exchange] = ?",
            ),
            routes_to: fill(
                "SELECT [exchange], [routing_key], [kind], [destination], [arguments] FROM {b} \
                 WHERE [kind] = ? AND [destination] = ?",
            ),
            same: fill(&format!("SELECT 1 FROM {{b}} WHERE {route}")),
            bind: fill(
                "INSERT INTO {b} ([exchange], [routing_key], [kind], [destination], [arguments]) \
                 VALUES (?, ?, ?, ?, ?)",
            ),
            unbind: fill(&format!("DELETE FROM {{b}} WHERE {route}")),
            unbind_from: fill("DELETE FROM {b} WHERE [exchange] = ?"),
            unbind_to: fill("DELETE FROM {b} WHERE [kind] = ? AND [destination] = ?"),
        };
        Self { core, sql, known: Mutex::default() }
    }

    /// The properties of a queue for each message that is stored in it. What another process
    /// declares may be missed for a moment.
    pub(crate) async fn queue_lately(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        self.refresh(LATELY).await?;
        self.known_queue(name).await
    }

    async fn known_queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        if let Some(known) = self.lock().queues.get(name) {
            return Ok(known.clone());
        }
        let found = self.find(entity::QUEUE, name).await?;
        let found = found.map(|properties| Arc::new(entity::queue(name, &properties)));
        self.lock().queues.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    /// Forgets what was read, if it has changed since. What was read just now counts without
    /// asking.
    async fn refresh(&self, just_now: Duration) -> Result<()> {
        let changes = self.core.shared.changes.load(Ordering::Acquire);
        {
            let known = self.lock();
            let fresh = known.checked.is_some_and(|at| at.elapsed() < just_now);
            if fresh && known.changes == changes {
                return Ok(());
            }
        }
        let at = Instant::now();
        let step = Step::rows(&self.sql.version, Vec::new(), &[Column::Int]);
        let version = self.read(step).await?.first().and_then(|row| Some(row.first()?.int()));
        let version = version.unwrap_or_default();
        let mut known = self.lock();
        if known.version != version || known.changes != changes {
            *known = Known { version, changes, ..Known::default() };
        }
        known.checked = Some(at);
        Ok(())
    }

    /// Makes a change that others are to see.
    async fn change(&self, mut steps: Vec<Step>) -> Result<()> {
        steps.push(Step::new(&self.sql.change, Vec::new()));
        let done = self.core.run(&self.core.lanes.write, &steps).await;
        self.core.shared.changes.fetch_add(1, Ordering::AcqRel);
        self.lock().checked = None;
        Ok(done.map(drop)?)
    }

    async fn find(&self, kind: &str, name: &str) -> Result<Option<Table>> {
        let step = Step::rows(&self.sql.find, vec![kind.into(), name.into()], &[Column::Text]);
        let rows = self.read(step).await?;
        let Some(Cell::Text(text)) = rows.into_iter().flatten().next() else { return Ok(None) };
        match json::parse(&text).and_then(json::untag) {
            Ok(Value::Table(properties)) => Ok(Some(properties)),
            _ => Err(Error::new(
                ErrorKind::Decode,
                format!("the stored properties of {name:?} cannot be read"),
            )),
        }
    }

    async fn read(&self, step: Step) -> Result<Vec<Vec<Cell>>> {
        Ok(self.core.one(&self.core.lanes.read, step).await?.rows)
    }

    /// Adds what is not there yet; two that add it at once both find it.
    async fn add(&self, kind: &'static str, name: &str, properties: &Table) -> Result<()> {
        let text = entity::text(properties)?;
        let args = vec![kind.into(), name.into(), text.into()];
        let added = self.change(vec![Step::new(&self.sql.add, args)]).await;
        match added {
            Err(error) if self.find(kind, name).await?.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    async fn routes_where(&self, step: Step) -> Result<Vec<Route>> {
        let rows = self.read(step).await?;
        rows.iter().map(|row| entity::route(row)).collect()
    }

    /// Deletes exchanges that lost their last binding, if they want that, and so on.
    async fn after_unbinding(&self, exchanges: Vec<String>) -> Result<()> {
        let mut open = exchanges;
        while let Some(name) = open.pop() {
            let left = Step::rows(&self.sql.routes, vec![name.as_str().into()], entity::ROUTE);
            if !self.read(left).await?.is_empty() {
                continue;
            }
            let auto = self.exchange(&name).await?.is_some_and(|one| one.is_auto_delete());
            if auto {
                open.extend(self.drop_exchange(&name).await?);
            }
        }
        Ok(())
    }

    /// Deletes an exchange, and says which others lost a binding.
    async fn drop_exchange(&self, name: &str) -> Result<Vec<String>> {
        let to = vec![entity::EXCHANGE.into(), name.into()];
        let sources = Step::rows(&self.sql.routes_to, to.clone(), entity::ROUTE);
        let sources = self.routes_where(sources).await?;
        self.change(vec![
            Step::new(&self.sql.remove, to.clone()),
            Step::new(&self.sql.unbind_from, vec![name.into()]),
            Step::new(&self.sql.unbind_to, to),
        ])
        .await?;
        Ok(sources.into_iter().map(|route| route.exchange).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Topology for SqlTopology {
    async fn declare_exchange(&self, exchange: &Exchange) -> Result<()> {
        entity::check_length("exchange", exchange.name())?;
        match self.exchange(exchange.name()).await? {
            Some(known) => {
                // It knows which declarations say the same.
                let local = LocalTopology::new();
                local.declare_exchange(&known).await?;
                local.declare_exchange(exchange).await
            }
            None => {
                let properties = entity::of_exchange(exchange);
                self.add(entity::EXCHANGE, exchange.name(), &properties).await
            }
        }
    }

    async fn exchange(&self, name: &str) -> Result<Option<Arc<Exchange>>> {
        self.refresh(FRESH).await?;
        if let Some(known) = self.lock().exchanges.get(name) {
            return Ok(known.clone());
        }
        let found = self.find(entity::EXCHANGE, name).await?;
        let found = found.map(|properties| Arc::new(entity::exchange(name, &properties)));
        self.lock().exchanges.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    async fn delete_exchange(&self, name: &str) -> Result<()> {
        let sources = self.drop_exchange(name).await?;
        self.after_unbinding(sources).await
    }

    async fn bind(&self, route: &Route) -> Result<()> {
        let args = entity::route_args(route)?;
        let same = Step::rows(&self.sql.same, args.clone(), &[Column::Int]);
        if !self.read(same).await?.is_empty() {
            return Ok(());
        }
        self.change(vec![Step::new(&self.sql.bind, args)]).await
    }

    async fn unbind(&self, route: &Route) -> Result<()> {
        let args = entity::route_args(route)?;
        let same = Step::rows(&self.sql.same, args.clone(), &[Column::Int]);
        if self.read(same).await?.is_empty() {
            return Ok(());
        }
        self.change(vec![Step::new(&self.sql.unbind, args)]).await?;
        self.after_unbinding(vec![route.exchange.clone()]).await
    }

    async fn routes(&self, exchange: &str) -> Result<Arc<[Route]>> {
        self.refresh(FRESH).await?;
        if let Some(routes) = self.lock().routes.get(exchange) {
            return Ok(Arc::clone(routes));
        }
        let step = Step::rows(&self.sql.routes, vec![exchange.into()], entity::ROUTE);
        let routes: Arc<[Route]> = self.routes_where(step).await?.into();
        self.lock().routes.insert(exchange.to_owned(), Arc::clone(&routes));
        Ok(routes)
    }

    async fn declare_queue(&self, queue: &Queue) -> Result<()> {
        check_name(queue.name())?;
        match self.queue(queue.name()).await? {
            Some(known) => {
                let local = LocalTopology::new();
                local.declare_queue(&known).await?;
                local.declare_queue(queue).await
            }
            None => self.add(entity::QUEUE, queue.name(), &entity::of_queue(queue)).await,
        }
    }

    async fn queue(&self, name: &str) -> Result<Option<Arc<Queue>>> {
        self.refresh(FRESH).await?;
        self.known_queue(name).await
    }

    async fn forget_queue(&self, name: &str) -> Result<()> {
        let to = vec![entity::TO_QUEUE.into(), name.into()];
        let sources = Step::rows(&self.sql.routes_to, to.clone(), entity::ROUTE);
        let sources = self.routes_where(sources).await?;
        self.change(vec![
            Step::new(&self.sql.remove, vec![entity::QUEUE.into(), name.into()]),
            Step::new(&self.sql.unbind_to, to),
        ])
        .await?;
        self.after_unbinding(sources.into_iter().map(|route| route.exchange).collect()).await
    }
}

/// For how long what was read counts without asking whether it changed. What this process changes
/// counts at once.
const FRESH: Duration = Duration::from_millis(2);

/// The same for the properties of queues that messages are stored in.
const LATELY: Duration = Duration::from_millis(100);
