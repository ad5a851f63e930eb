#![doc = include_str!("../README.md")]

mod claim;
mod core;
mod error;
mod estates;
mod layout;
mod lock;
mod options;
mod owners;
mod put;
mod records;
mod settings;
mod settle;
mod store;
mod transport;
mod view;

pub use options::{Access, AccessList, ZooKeeperOptions};
pub use transport::{SCHEMES, ZooKeeperTransport};
