//! The layer over a store that is slow, unreliable, or has leases.

mod broker;
mod calls;
mod chaos;
