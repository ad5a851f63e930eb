#![doc = include_str!("../README.md")]

mod claims;
mod clock;
mod control;
mod disk;
mod error;
mod folders;
mod inbox;
mod index;
mod names;
mod notices;
mod options;
mod outbox;
mod reading;
mod settling;
mod store;
mod topology;
mod transport;

pub use options::FilesystemOptions;
pub use transport::{FilesystemTransport, SCHEMES};
