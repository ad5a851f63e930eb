//! What only AMQP brokers can do, on a real one: `KOMBU_TEST_AMQP_URL` names it.
//!
//! Without it the cases are ignored, or fail if `KOMBU_REQUIRE_BROKERS` is 1.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod connect;
mod consume;
mod delayed;
mod links;
mod proxy;
mod publish;
mod stage;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    stage::run([
        connect::cases(),
        calls::cases(),
        publish::cases(),
        consume::cases(),
        delayed::cases(),
        links::cases(),
    ])
}
