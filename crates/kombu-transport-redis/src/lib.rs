#![doc = include_str!("../README.md")]

mod core;
mod driver;
mod error;
mod estate;
mod fanout;
mod keys;
mod ledger;
mod options;
mod record;
mod reply;
mod scripts;
mod sentinel;
mod settings;
mod store;
mod sweep;
mod topology;
mod transport;
mod waiters;

pub use options::{RedisOptions, SentinelOptions};
pub use transport::{RedisTransport, SCHEMES};
