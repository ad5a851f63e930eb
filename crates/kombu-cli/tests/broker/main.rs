//! The command on real brokers: those that `KOMBU_TEST_<TRANSPORT>_URL` names, for every transport
//! that it is built with. `cargo xtask test-brokers` sets them.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod cases;
mod command;

use std::env;
use std::process::ExitCode;

use kombu::BrokerUrls;
use kombu::transport::Transport;
use libtest_mimic::{Arguments, Failed, Trial};

use crate::cases::{CASES, Case, PASSWORD};
use crate::command::Broker;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let registry = kombu::transports::enabled();
    // What is inside a process cannot be reached by two.
    let transports: Vec<_> =
        registry.iter().filter(|transport| transport.name() != "memory").collect();
    let none = transports.iter().all(|transport| url(&***transport).is_none());
    let required = env::var("KOMBU_REQUIRE_BROKERS").is_ok_and(|value| value == "1");
    let trials = transports.into_iter().flat_map(|transport| match url(&**transport) {
        Some(url) => CASES.iter().map(|case| trial(&**transport, &url, case)).collect(),
        // Where one broker at a time is tested, the others are not meant.
        None => vec![missing(&**transport, none && required)],
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// The URL of the broker to test a transport on.
fn url(transport: &dyn Transport) -> Option<String> {
    env::var(variable(transport)).ok().filter(|url| !url.is_empty())
}

fn variable(transport: &dyn Transport) -> String {
    format!("KOMBU_TEST_{}_URL", transport.name().to_uppercase())
}

/// A case on a broker; ignored, and named so, where it needs what there is not.
fn trial(transport: &dyn Transport, url: &str, case: &'static Case) -> Trial {
    let has_password = BrokerUrls::parse(url).is_ok_and(|urls| urls.first().password().is_some());
    let capabilities = transport.capabilities();
    let lacks = case.needs.iter().find(|need| match **need {
        PASSWORD => !has_password,
        capability => capabilities.has(capability) != Some(true),
    });
    let name = format!("{}::{}", transport.name(), case.name);
    let name = lacks.map_or(name.clone(), |need| format!("{name} [needs {need}]"));
    let broker = Broker::new(url, case.name);
    Trial::test(name, move || {
        (case.run)(&broker);
        Ok(())
    })
    .with_ignored_flag(lacks.is_some())
}

/// What stands for the cases without a broker: ignored, or failed where brokers are required.
fn missing(transport: &dyn Transport, required: bool) -> Trial {
    let reason = format!("{} is not set", variable(transport));
    let name = format!("{}::all [{reason}]", transport.name());
    Trial::test(name, move || Err(Failed::from(reason))).with_ignored_flag(!required)
}
