#![doc = include_str!("../README.md")]

mod call;
mod claim;
mod error;
mod frame;
mod link;
mod locate;
mod lock;
mod mac;
mod message;
mod options;
mod prompt;
mod put;
mod records;
mod session;
mod settings;
mod settle;
mod shared;
mod state;
mod store;
mod transport;

pub use options::PyroOptions;
pub use transport::{PyroTransport, SCHEMES};
