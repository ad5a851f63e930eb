#![doc = include_str!("../README.md")]

mod broadcast;
mod claim;
mod clock;
mod core;
mod cursor;
mod error;
mod estate;
mod fanout;
mod hub;
mod options;
mod queues;
mod record;
mod returns;
mod settings;
mod settle;
mod store;
mod topology;
mod transport;
mod watch;

pub use options::MongodbOptions;
pub use transport::{MongodbTransport, SCHEMES};
