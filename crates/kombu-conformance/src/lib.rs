#![doc = include_str!("../README.md")]

mod address;
mod case;
mod cases;
pub mod control;
mod detour;
mod failure;
pub mod kit;
pub mod proxy;
mod stage;
mod suite;
mod target;
mod wait;

pub use control::{Action, BrokerControl, CommandControl};
pub use detour::Detour;
pub use suite::{Verdict, run, verdicts};
pub use target::Target;
