//! What a case works with: connections to the target, and names that are its own.

use std::process;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kombu_core::transport::{Capabilities, DeleteExchange};
use kombu_core::url::IntoUrls;
use kombu_core::{
    Connection, ConnectionBuilder, ErrorKind, Exchange, ExchangeType, Queue, Result, RetryPolicy,
};
use tokio::time::timeout;

use crate::address;
use crate::control::Action;
use crate::failure::Failure;
use crate::proxy::Proxy;
use crate::target::Target;

/// The stage of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) target: Arc<Target>,
    /// What the broker can do.
    pub(crate) can: Capabilities,
    number: usize,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Stage {
    /// The stage of the case of a number.
    pub(crate) fn new(target: Arc<Target>, can: Capabilities, number: usize) -> Self {
        Self { target, can, number, queues: Mutex::default(), exchanges: Mutex::default() }
    }

    /// The broker's URL.
    pub(crate) fn url(&self) -> &str {
        self.target.url()
    }

    /// Starts to configure a connection to the broker.
    pub(crate) fn builder(&self) -> ConnectionBuilder {
        self.builder_for(self.url())
    }

    /// Starts to configure a connection to other URLs.
    pub(crate) fn builder_for(&self, urls: impl IntoUrls) -> ConnectionBuilder {
        builder(&self.target, urls)
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        self.builder().connect().await
    }

    /// A proxy before the broker, and the URL that leads through it.
    pub(crate) async fn proxy(&self) -> Result<(Proxy, String), Failure> {
        if let Some(detour) = &self.target.detour {
            let (host, port) = detour.broker(self.url()).await.map_err(Failure::new)?;
            let proxy = Proxy::start(&host, port).await?;
            let url = detour.through(self.url(), proxy.port()).await.map_err(Failure::new)?;
            return Ok((proxy, url));
        }
        let (host, port) =
            address::of(self.url()).ok_or_else(|| Failure::new("the case needs \"tcp\""))?;
        let proxy = Proxy::start(&host, port).await?;
        let url = address::with_port(self.url(), proxy.port());
        Ok((proxy, url))
    }

    /// Does something to the broker.
    pub(crate) async fn control(&self, action: Action) -> Result<(), Failure> {
        let control = self.target.control.as_ref();
        let control = control.ok_or_else(|| Failure::new("the case needs \"control\""))?;
        match control.act(action).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                Err(Failure::Ignored(format!("the broker has no {action}")))
            }
            done => Ok(done?),
        }
    }

    /// A name that no other case and no other process uses.
    pub(crate) fn name(&self, what: &str) -> String {
        static PROCESS: LazyLock<String> = LazyLock::new(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("kt-{:x}-{:x}", now.as_millis(), process::id())
        });
        format!("{}-{}-{what}", *PROCESS, self.number)
    }

    /// A queue that is deleted when the case is over.
    pub(crate) fn queue(&self, what: &str) -> Queue {
        self.queue_named(self.name(what))
    }

    /// As [`queue`](Self::queue), with all of its name.
    pub(crate) fn queue_named(&self, name: String) -> Queue {
        push(&self.queues, &name);
        Queue::new(name)
    }

    /// An exchange that is deleted when the case is over.
    pub(crate) fn exchange(&self, what: &str, kind: ExchangeType) -> Exchange {
        let name = self.name(what);
        push(&self.exchanges, &name);
        Exchange::new(name, kind)
    }

    /// A direct exchange that is deleted when the case is over.
    pub(crate) fn direct(&self, what: &str) -> Exchange {
        self.exchange(what, ExchangeType::Direct)
    }

    /// A fanout exchange that is deleted when the case is over.
    pub(crate) fn fanout(&self, what: &str) -> Exchange {
        self.exchange(what, ExchangeType::Fanout)
    }

    /// Deletes what the case made, as far as that works.
    pub(crate) async fn clear(&self) {
        let queues =
            std::mem::take(&mut *self.queues.lock().unwrap_or_else(PoisonError::into_inner));
        let exchanges =
            std::mem::take(&mut *self.exchanges.lock().unwrap_or_else(PoisonError::into_inner));
        if queues.is_empty() && exchanges.is_empty() {
            return;
        }
        let clearing = async {
            let connection = self.connect().await?;
            for queue in &queues {
                drop(connection.delete_queue(queue).await);
            }
            let channel = connection.channel();
            for exchange in exchanges {
                drop(channel.delete_exchange(&DeleteExchange::new(exchange)).await);
            }
            connection.close().await
        };
        // What is left over harms no other case.
        drop(timeout(Duration::from_secs(10), clearing).await);
    }
}

/// A connection to one of some URLs, which fails soon rather than late.
pub(crate) fn builder(target: &Target, urls: impl IntoUrls) -> ConnectionBuilder {
    let recovery = RetryPolicy::recover()
        .interval_step(Duration::from_millis(200))
        .interval_max(Duration::from_secs(1));
    Connection::builder(urls)
        .registry(target.registry())
        .retry(RetryPolicy::once())
        .recovery(recovery)
        .operation_timeout(Duration::from_secs(20))
        .publish_timeout(Duration::from_secs(20))
        .client_name("kombu-conformance")
}

fn push(names: &Mutex<Vec<String>>, name: &str) {
    names.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
}
