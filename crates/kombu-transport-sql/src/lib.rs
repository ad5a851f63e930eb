#![doc = include_str!("../README.md")]

mod address;
mod core;
mod dialect;
mod driver;
mod entity;
mod error;
mod lane;
mod listen;
mod names;
mod open;
mod options;
mod put;
mod schema;
mod session;
mod settle;
mod shared;
mod stamp;
mod statements;
mod store;
mod take;
mod topology;
mod transport;
mod upkeep;

pub use options::{SqlOptions, Synchronous};
pub use transport::{SCHEMES, SqlTransport};
