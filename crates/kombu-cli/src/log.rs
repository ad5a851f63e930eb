//! The log on standard error.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log: warnings of this family of crates, and more for every `-v`. Drivers never log
/// more than what they do: their traces hold frames, and with them passwords.
pub(crate) fn start(verbose: u8) {
    let (own, others) = match verbose {
        0 => (LevelFilter::WARN, LevelFilter::OFF),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::INFO),
        _ => (LevelFilter::TRACE, LevelFilter::INFO),
    };
    let levels = Targets::new().with_default(others).with_target("kombu", own);
    let lines = fmt::layer().with_writer(io::stderr).without_time();
    tracing_subscriber::registry().with(lines).with(levels).init();
}
