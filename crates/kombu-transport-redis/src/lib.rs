#![doc = include_str!("../README.md")]

mod claim;
mod core;
mod driver;
mod error;
mod estate;
mod fanout;
mod keys;
mod ledger;
mod life;
mod options;
mod place;
mod put;
mod record;
mod reply;
mod scripts;
mod sentinel;
mod settings;
mod settle;
mod slot;
mod socket_options;
mod store;
mod sweep;
mod topology;
mod transport;
mod waiters;

pub use options::{RedisOptions, SentinelOptions};
pub use socket_options::SocketOptions;
pub use transport::{RedisTransport, SCHEMES};
