//! What is declared on a broker: exchanges, queues, bindings. Plain values without I/O.

mod binding;
mod broadcast;
mod exchange;
mod queue;

pub use binding::Binding;
pub use broadcast::Broadcast;
pub use exchange::{DeliveryMode, Exchange, ExchangeType};
pub use queue::{IntoQueues, Queue};
