//! What a case stands on: its broker, and names that no other case has.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kombu::transport::{Capabilities, DeleteExchange};
use kombu::{Connection, Exchange, ExchangeType, Queue};
use tokio::time::timeout;

use crate::failure::Result;
use crate::rust;
use crate::suite::RustOption;
use crate::transport::Ground;

/// The stage of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    ground: Ground,
    option: Option<RustOption>,
    number: usize,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Stage {
    pub(crate) fn new(ground: Ground, option: Option<RustOption>) -> Self {
        static CASES: AtomicUsize = AtomicUsize::new(0);
        let number = CASES.fetch_add(1, Ordering::Relaxed);
        Self { ground, option, number, queues: Mutex::default(), exchanges: Mutex::default() }
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// What the broker can do.
    pub(crate) fn can(&self) -> &Capabilities {
        &self.ground.can
    }

    /// A new connection of the Rust side.
    pub(crate) async fn connect(&self) -> kombu::Result<Connection> {
        let builder = rust::builder(&self.ground.url);
        match self.option {
            Some((name, value)) => builder.option(name, value).connect().await,
            None => builder.connect().await,
        }
    }

    /// A name that no other case and no other process uses.
    pub(crate) fn name(&self, what: &str) -> String {
        static PROCESS: LazyLock<String> = LazyLock::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("ki-{:x}-{:x}", now.as_millis(), process::id())
        });
        format!("{}-{}-{what}", *PROCESS, self.number)
    }

    /// A queue that is deleted when the case is over.
    pub(crate) fn queue(&self, what: &str) -> Queue {
        let name = self.name(what);
        push(&self.queues, &name);
        Queue::new(name)
    }

    /// An exchange that is deleted when the case is over.
    pub(crate) fn exchange(&self, what: &str, kind: ExchangeType) -> Exchange {
        let name = self.name(what);
        push(&self.exchanges, &name);
        Exchange::new(name, kind)
    }

    /// Has a queue and an exchange of that name deleted when the case is over.
    pub(crate) fn clear_later(&self, name: &str) {
        push(&self.queues, name);
        push(&self.exchanges, name);
    }

    /// Deletes what the case declared, as far as that works.
    pub(crate) async fn clear(&self) {
        let queues = take(&self.queues);
        let exchanges = take(&self.exchanges);
        let clearing = async {
            let connection = self.connect().await?;
            for queue in &queues {
                drop(connection.delete_queue(queue).await);
            }
            let channel = connection.channel();
            for exchange in exchanges {
                drop(channel.delete_exchange(&DeleteExchange::new(exchange)).await);
            }
            connection.close().await?;
            Result::<()>::Ok(())
        };
        // What is left over harms no other case.
        drop(timeout(Duration::from_secs(10), clearing).await);
    }
}

fn push(names: &Mutex<Vec<String>>, name: &str) {
    names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
}

fn take(names: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *names.lock().unwrap_or_else(PoisonError::into_inner))
}
