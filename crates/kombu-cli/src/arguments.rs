//! Arguments that several commands share, and how their texts are read.

use std::time::Duration;

use clap::Args;
use kombu::Connection;

use crate::connect::connect;
use crate::end::Stop;
use crate::pair::{Pair, pair};
use crate::session::Session;

/// The broker of a command, and how to connect to it.
#[derive(Args)]
pub(crate) struct Broker {
    /// The broker's URL; several joined by ";" stand in for each other.
    #[arg(value_name = "URL")]
    url: String,
    /// Sets an option of the transport, by Kombu's name; VALUE is JSON when it parses, else text.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = pair, display_order = 900)]
    options: Vec<Pair>,
    #[command(flatten)]
    patience: Patience,
}

impl Broker {
    /// Connects, trying every URL once.
    pub(crate) async fn connect(&self, session: &mut Session) -> Result<Connection, Stop> {
        connect(session, &self.url, &self.options, self.patience.connect_timeout).await
    }
}

/// How long to wait for a broker.
#[derive(Args)]
pub(crate) struct Patience {
    /// How long connecting to one URL may take.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, display_order = 901)]
    pub(crate) connect_timeout: Duration,
}

/// The queue of a command.
#[derive(Args)]
pub(crate) struct Subject {
    /// The queue's name.
    #[arg(value_name = "QUEUE", value_parser = name)]
    pub(crate) queue: String,
}

/// Reads a time in seconds, such as `1.5`.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "write seconds, such as 1.5".to_owned())?;
    Duration::try_from_secs_f64(number)
        .map_err(|_| "write seconds from 0 on, not too many".to_owned())
}

/// Reads the name of a queue or exchange, which must not be empty.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("the name is empty".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_decimal_and_not_negative() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        for text in ["", "x", "-1", "NaN", "inf", "1e300", "5s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
