#![doc = include_str!("../README.md")]

pub mod codec;
pub mod compression;
pub mod entity;
pub mod error;
pub mod failover;
pub mod message;
pub mod retry;
pub mod suggest;
pub mod url;
pub mod value;

pub use codec::{Accept, Codec, Codecs, Encoded, Json, Raw, Text};
pub use compression::{Compression, Compressions};
pub use entity::{Binding, DeliveryMode, Exchange, ExchangeType, IntoQueues, Queue};
pub use error::{Error, ErrorKind, Result, Scope};
pub use failover::{FailoverCycle, FailoverStrategy};
pub use message::{Message, Properties};
pub use retry::RetryPolicy;
pub use url::{BrokerUrl, BrokerUrls, Host, IntoUrls, Secret};
pub use value::{Table, Tag, Value};
