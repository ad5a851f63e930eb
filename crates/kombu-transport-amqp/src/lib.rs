#![doc = include_str!("../README.md")]

mod blocked;
mod channel;
mod connection;
mod consumer;
pub mod delayed;
mod delays;
mod driver;
mod error;
mod fate;
mod ledger;
mod names;
mod options;
mod publisher;
mod settings;
mod tasks;
mod transport;
mod unsettled;

pub use options::{AmqpOptions, Driver, LoginMethod};
pub use transport::AmqpTransport;
