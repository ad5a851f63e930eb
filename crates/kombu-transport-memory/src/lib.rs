#![doc = include_str!("../README.md")]

mod arguments;
mod broker;
mod queue;
mod state;
mod store;
mod transport;

pub use transport::{MemoryTransport, SCHEMES};
