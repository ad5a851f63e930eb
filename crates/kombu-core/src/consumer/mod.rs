//! Receiving.

mod builder;
mod delivery;
mod drain;
mod pump;
mod run;
mod stream;

pub use builder::ConsumerBuilder;
pub(crate) use delivery::BodyContext;
pub use delivery::{Acker, Delivery};
pub use drain::Drain;
pub use stream::Consumer;
