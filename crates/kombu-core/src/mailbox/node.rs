//! A node under construction, and what it is asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::listener::Listener;
use super::place::Mailbox;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Table, Value};

pub(super) type Method =
    Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Value, String>> + Send + Sync>;

/// A node: methods under a name. It has `ping` from the start, which answers `{"ok": "pong"}` as
/// Celery's workers do.
///
/// # Kombu
///
/// `kombu.pidbox.Node`. A method that fails or panics costs its call only, and calls are served
/// side by side.
#[must_use = "a node hears nothing until it listens"]
pub struct Node {
    pub(super) mailbox: Mailbox,
    pub(super) name: String,
    pub(super) methods: BTreeMap<String, Method>,
    pub(super) drops_expired: bool,
}

impl Node {
    pub(super) fn new(mailbox: Mailbox, name: String) -> Self {
        let node = Self { mailbox, name, methods: BTreeMap::new(), drops_expired: false };
        node.on("ping", async |_request| Ok::<_, Error>(Table::new().with("ok", "pong")))
    }

    /// Adds a method, or replaces it. What it returns is the reply, if one is wanted.
    pub fn on<F, Fut, T, E>(mut self, method: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize,
        E: fmt::Display,
    {
        let handler: Method = Arc::new(move |request| {
            let handled = handler(request);
            async move {
                let result = handled.await.map_err(|error| error.to_string())?;
                Value::from_serialize(&result).map_err(|error| error.to_string())
            }
            .boxed()
        });
        self.methods.insert(method.into(), handler);
        self
    }

    /// Whether requests are ignored whose sender waits no more, by this machine's clock. Default:
    /// false as in Kombu, for the clocks of two machines may differ by more than a caller waits.
    pub fn drop_expired(mut self, drop_expired: bool) -> Self {
        self.drops_expired = drop_expired;
        self
    }

    /// Declares the node's queue, and listens: requests made from now on are heard.
    ///
    /// # Errors
    ///
    /// `ResourceLocked` when a node of that name listens already, where the broker can tell; those
    /// of declaring and consuming.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was started is ended.
    pub async fn listen(self) -> Result<Listener> {
        Listener::start(self).await
    }

    /// Listens and serves until `shutdown` resolves. See [`Listener::run`].
    ///
    /// # Errors
    ///
    /// Those of [`listen`](Self::listen), and what ended the consumer.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: methods at work are dropped.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.listen().await?.run(shutdown).await
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("mailbox", &self.mailbox)
            .field("name", &self.name)
            .field("methods", &self.methods.keys())
            .finish_non_exhaustive()
    }
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// The name of the method.
    pub method: String,
    /// The arguments by name.
    pub arguments: Table,
}

impl Request {
    /// An argument.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` when it is missing or of another form.
    pub fn argument<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let wrong = |why: String| {
            Error::new(ErrorKind::InvalidArgument, why)
                .with("method", &self.method)
                .with("argument", name)
        };
        let value = self.arguments.get(name).cloned();
        let value = value.ok_or_else(|| wrong("the argument is missing".to_owned()))?;
        value.into_deserialize().map_err(|error| wrong(error.message().to_owned()))
    }

    /// All arguments, as one value.
    ///
    /// # Errors
    ///
    /// `Decode` when they are of another form.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        Value::Table(self.arguments.clone())
            .into_deserialize()
            .map_err(|error| error.with("method", &self.method))
    }
}
