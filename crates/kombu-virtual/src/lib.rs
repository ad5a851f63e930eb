#![doc = include_str!("../README.md")]

mod channel;
mod connection;
mod consumer;
pub mod dead_letter;
mod declare;
mod ended;
pub mod envelope;
mod equivalence;
pub mod expiry;
mod fetch;
mod handle;
mod interrupt;
mod local_topology;
mod lock;
mod options;
mod presence;
mod publish;
mod refuse;
mod routing;
mod settle;
mod shared_topology;
mod store;
mod tasks;
mod topology;
mod unsettled;
mod upkeep;

pub use connection::VirtualConnection;
pub use interrupt::Interrupt;
pub use local_topology::LocalTopology;
pub use options::VirtualOptions;
pub use presence::Presence;
pub use routing::{Targets, topic};
pub use shared_topology::{SharedTopology, TopologyRecords};
pub use store::{Claim, Claimed, Put, Settlement, Store, StoreFeatures, Want};
pub use topology::{Destination, Route, Topology};
