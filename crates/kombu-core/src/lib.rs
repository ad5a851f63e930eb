#![doc = include_str!("../README.md")]

pub mod channel;
pub mod codec;
pub mod compression;
pub mod connection;
pub mod consumer;
pub mod entity;
pub mod error;
pub mod failover;
pub mod message;
pub mod options;
pub mod producer;
pub mod retry;
pub mod suggest;
pub mod tls;
pub mod transport;
pub mod url;
pub mod value;

pub use channel::Channel;
pub use codec::{Accept, Codec, Codecs, Encoded, Json, Raw, Text};
pub use compression::{Compression, Compressions};
pub use connection::{Connection, ConnectionBuilder, ConnectionState, Entity};
pub use consumer::{Acker, Consumer, ConsumerBuilder, Delivery};
pub use entity::{Binding, DeliveryMode, Exchange, ExchangeType, IntoQueues, Queue};
pub use error::{Error, ErrorKind, Result, Scope};
pub use failover::{FailoverCycle, FailoverStrategy};
pub use message::{Message, Properties};
pub use options::{ConnectionOptions, OptionReader, Options};
pub use producer::{IntoTarget, Producer, Publication, Target};
pub use retry::RetryPolicy;
pub use tls::TlsOptions;
pub use transport::Outcome;
pub use url::{BrokerUrl, BrokerUrls, Host, IntoUrls, Secret};
pub use value::{Table, Tag, Value};
