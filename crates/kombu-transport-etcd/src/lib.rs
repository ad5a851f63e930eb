#![doc = include_str!("../README.md")]

mod claim;
mod core;
mod error;
mod estates;
mod layout;
mod lock;
mod options;
mod put;
mod records;
mod settings;
mod settle;
mod store;
mod transport;
mod view;
mod waiting;

pub use options::EtcdOptions;
pub use transport::{EtcdTransport, SCHEMES};
