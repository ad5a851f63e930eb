#![doc = include_str!("../README.md")]

pub use kombu_core::*;

/// The transports that this build has.
pub mod transports {
    #[cfg(feature = "amqp")]
    pub use kombu_transport_amqp as amqp;
    #[cfg(feature = "etcd")]
    pub use kombu_transport_etcd as etcd;
    #[cfg(feature = "filesystem")]
    pub use kombu_transport_filesystem as filesystem;
    #[cfg(feature = "memory")]
    pub use kombu_transport_memory as memory;
    #[cfg(feature = "mongodb")]
    pub use kombu_transport_mongodb as mongodb;
    #[cfg(feature = "pyro")]
    pub use kombu_transport_pyro as pyro;
    #[cfg(feature = "redis")]
    pub use kombu_transport_redis as redis;
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub use kombu_transport_sql as sql;
    #[cfg(feature = "zookeeper")]
    pub use kombu_transport_zookeeper as zookeeper;

    use kombu_core::transport::TransportRegistry;

    /// The transports of the features that are enabled.
    #[must_use]
    pub fn enabled() -> TransportRegistry {
        let registry = TransportRegistry::new();
        #[cfg(feature = "amqp")]
        let registry = registry.with(amqp::AmqpTransport::new());
        #[cfg(feature = "etcd")]
        let registry = registry.with(etcd::EtcdTransport::new());
        #[cfg(feature = "filesystem")]
        let registry = registry.with(filesystem::FilesystemTransport::new());
        #[cfg(feature = "memory")]
        let registry = registry.with(memory::MemoryTransport::shared());
        #[cfg(feature = "mongodb")]
        let registry = registry.with(mongodb::MongodbTransport::new());
        #[cfg(feature = "pyro")]
        let registry = registry.with(pyro::PyroTransport::new());
        #[cfg(feature = "redis")]
        let registry = registry.with(redis::RedisTransport::new());
        #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
        let registry = registry.with(sql::SqlTransport::shared());
        #[cfg(feature = "zookeeper")]
        let registry = registry.with(zookeeper::ZooKeeperTransport::new());
        registry
    }
}

/// What most programs need.
pub mod prelude {
    pub use kombu_core::{
        Connection, Consumer, Delivery, Exchange, Json, Outcome, Producer, Queue, Raw, Text, Value,
    };
}

/// For programs without an async runtime: see [`kombu_core::blocking`].
pub mod blocking {
    pub use kombu_core::blocking::*;
    use kombu_core::{IntoUrls, Result};

    /// Connects to the first broker of `urls` that answers, with the transports that are enabled.
    ///
    /// # Errors
    ///
    /// As [`Connection::connect`].
    pub fn connect(urls: impl IntoUrls) -> Result<Connection> {
        Connection::connect(crate::connection(urls))
    }
}

/// Connects to the first broker of `urls` that answers, with the transports that are enabled.
///
/// # Errors
///
/// As [`ConnectionBuilder::connect`].
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn connect(urls: impl IntoUrls) -> Result<Connection> {
    connection(urls).connect().await
}

/// Starts to configure a connection with the transports that are enabled.
pub fn connection(urls: impl IntoUrls) -> ConnectionBuilder {
    Connection::builder(urls).registry(transports::enabled())
}
