//! Exchanges and bindings as nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kombu_core::Result;
use kombu_virtual::TopologyRecords;
use zookeeper_client::{CreateMode, Error as Zk};

use crate::core::{Core, follow};
use crate::error::error;
use crate::layout::{self, EXCHANGES};

/// A node for each exchange, with its properties as data and its bindings as children.
#[derive(Debug)]
pub(crate) struct Records {
    core: Arc<Core>,
    version: Arc<AtomicU64>,
}

impl Records {
    /// Begins to watch the exchanges.
    pub(crate) async fn new(core: Arc<Core>) -> Result<Self> {
        let version = Arc::new(AtomicU64::new(1));
        let watcher = core.watch(EXCHANGES).await?;
        let told = Arc::clone(&version);
        core.spawn(follow(watcher, move |_event, _path| {
            told.fetch_add(1, Ordering::AcqRel);
        }));
        Ok(Self { core, version })
    }

    /// The server's notice of a change that was made here may come a moment after its answer.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl TopologyRecords for Records {
    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    async fn exchanges(&self) -> Result<Vec<String>> {
        self.core.catch_up().await?;
        let names = self.core.call(self.core.client.list_children(EXCHANGES)).await?;
        Ok(names.iter().filter_map(|name| layout::decode(name)).collect())
    }

    async fn read(&self, exchange: &str) -> Result<(Option<String>, Vec<String>)> {
        let path = layout::exchange(exchange)?;
        self.core.catch_up().await?;
        let client = &self.core.client;
        let (data, children) = (client.get_data(&path), client.list_children(&path));
        let data = match self.core.ask(data).await? {
            Ok((data, _)) => data,
            Err(Zk::NoNode) => return Ok((None, Vec::new())),
            Err(refused) => return Err(error(refused)),
        };
        let children = match self.core.ask(children).await? {
            Ok(children) => children,
            Err(Zk::NoNode) => return Ok((None, Vec::new())),
            Err(refused) => return Err(error(refused)),
        };
        let properties = String::from_utf8(data).ok().filter(|text| !text.is_empty());
        Ok((properties, children.iter().filter_map(|name| layout::decode(name)).collect()))
    }

    async fn create(&self, exchange: &str, properties: &str) -> Result<()> {
        let path = layout::exchange(exchange)?;
        let node = self.core.access.node(CreateMode::Persistent);
        let client = &self.core.client;
        let made = client.create(&path, properties.as_bytes(), &node);
        match self.core.ask(made).await? {
            Ok(_) => {}
            // With bindings only, or made by another one at the same time.
            Err(Zk::NodeExists) => {
                let set = client.set_data(&path, properties.as_bytes(), Some(0));
                match self.core.ask(set).await? {
                    Ok(_) | Err(Zk::BadVersion | Zk::NoNode) => {}
                    Err(refused) => return Err(error(refused)),
                }
            }
            Err(refused) => return Err(error(refused)),
        }
        self.changed();
        Ok(())
    }

    async fn delete(&self, exchange: &str) -> Result<()> {
        let path = layout::exchange(exchange)?;
        loop {
            match self.core.ask(self.core.client.delete(&path, None)).await? {
                Ok(()) | Err(Zk::NoNode) => break,
                Err(Zk::NotEmpty) => {
                    for binding in self.read(exchange).await?.1 {
                        self.remove(exchange, &binding).await?;
                    }
                }
                Err(refused) => return Err(error(refused)),
            }
        }
        self.changed();
        Ok(())
    }

    async fn add(&self, exchange: &str, binding: &str) -> Result<()> {
        let path = layout::exchange(exchange)?;
        let binding = format!("{path}/{}", layout::encode(binding));
        let node = self.core.access.node(CreateMode::Persistent);
        loop {
            match self.core.ask(self.core.client.create(&binding, b"", &node)).await? {
                Ok(_) | Err(Zk::NodeExists) => break,
                Err(Zk::NoNode) => self.core.make(&path).await?,
                Err(refused) => return Err(error(refused)),
            }
        }
        self.changed();
        Ok(())
    }

    async fn remove(&self, exchange: &str, binding: &str) -> Result<()> {
        let binding = format!("{}/{}", layout::exchange(exchange)?, layout::encode(binding));
        match self.core.ask(self.core.client.delete(&binding, None)).await? {
            Ok(()) | Err(Zk::NoNode) => {}
            Err(refused) => return Err(error(refused)),
        }
        self.changed();
        Ok(())
    }
}
