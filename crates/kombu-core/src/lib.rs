#![doc = include_str!("../README.md")]

pub mod blocking;
pub mod channel;
pub mod clock;
pub mod codec;
pub mod compression;
pub mod connection;
pub mod consumer;
pub mod entity;
pub mod error;
pub mod failover;
mod id;
pub mod mailbox;
pub mod message;
pub mod observe;
pub mod options;
pub mod pool;
pub mod producer;
pub mod retry;
pub mod rpc;
pub mod simple;
pub mod suggest;
pub mod tls;
pub mod transport;
pub mod url;
pub mod value;
pub mod worker;

pub use channel::Channel;
#[cfg(feature = "msgpack")]
pub use codec::Msgpack;
#[cfg(feature = "pickle")]
pub use codec::Pickle;
#[cfg(feature = "yaml")]
pub use codec::Yaml;
pub use codec::{Accept, Codec, Codecs, Encoded, Json, Raw, Text};
pub use compression::{Compression, Compressions};
pub use connection::{Connection, ConnectionBuilder, ConnectionState, Entity};
pub use consumer::{Acker, Consumer, ConsumerBuilder, Delivery, Drain};
pub use entity::{Binding, Broadcast, DeliveryMode, Exchange, ExchangeType, IntoQueues, Queue};
pub use error::{Error, ErrorKind, Result, Scope};
pub use failover::{FailoverCycle, FailoverStrategy};
pub use id::uuid;
pub use mailbox::Mailbox;
pub use message::{Message, Properties};
pub use options::{ConnectionOptions, OptionReader, Options};
pub use pool::{ConnectionPool, Pools, ProducerPool};
pub use producer::{IntoTarget, Producer, Publication, Target};
pub use retry::RetryPolicy;
pub use rpc::{RpcClient, RpcServer};
pub use simple::SimpleQueue;
pub use tls::TlsOptions;
pub use transport::Outcome;
pub use url::{BrokerUrl, BrokerUrls, Host, IntoUrls, Secret};
pub use value::{Table, Tag, Value};
pub use worker::{Job, Verdict, Worker};
