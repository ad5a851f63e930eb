//! Kombu's options for the client that it uses, as far as they mean something here.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, OptionReader, Result};

/// What a connection's socket is to be like.
///
/// | option | sets |
/// |---|---|
/// | `client_name` | the connection's name at the server, where the program gives none |
/// | `socket_connect_timeout` | `connect_timeout`, in seconds |
/// | `socket_timeout` | seconds that any answer may take; default: what the heartbeat allows |
/// | `health_check_interval` | `heartbeat`, in seconds; 0 is off |
/// | `max_connections`, `reauth_check_interval`, `socket_keepalive`, `socket_keepalive_options` | nothing: there is one socket, whose heartbeats keep it alive |
/// | `retry_on_timeout` | only `false`: what may have arrived is not sent again |
/// | `ack_emulation` | only `true`: what is taken is recorded |
/// | `queue_order_strategy` | only `round_robin` |
/// | `sentinel_fanout_compat` | only `false` |
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The connection's name at the server.
    pub client_name: Option<String>,
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How long any answer may take.
    pub timeout: Option<Duration>,
    /// The time between two pings; zero for none.
    pub health_check_interval: Option<Duration>,
}

impl SocketOptions {
    pub(crate) fn read(reader: &mut OptionReader) -> Result<Self> {
        let read = Self {
            client_name: reader.text("client_name")?,
            connect_timeout: time(reader, "socket_connect_timeout")?,
            timeout: time(reader, "socket_timeout")?,
            health_check_interval: reader.duration("health_check_interval")?,
        };
        reader.u32("max_connections")?;
        reader.u32("reauth_check_interval")?;
        reader.bool("socket_keepalive")?;
        reader.table("socket_keepalive_options")?;
        for (name, only) in [
            ("ack_emulation", true),
            ("retry_on_timeout", false),
            ("sentinel_fanout_compat", false),
        ] {
            if reader.bool(name)?.is_some_and(|given| given != only) {
                return Err(refused(format!("option {name} can only be {only} here")));
            }
        }
        match reader.text("queue_order_strategy")?.as_deref() {
            None | Some("round_robin") => Ok(read),
            Some(other) => Err(refused(format!(
                "option queue_order_strategy is {other:?}; queues are served in turn, which is \
                 round_robin"
            ))),
        }
    }
}

/// A time, which cannot be zero.
fn time(reader: &mut OptionReader, name: &'static str) -> Result<Option<Duration>> {
    match reader.duration(name)? {
        Some(Duration::ZERO) => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("option {name} is 0; write more than 0 seconds"),
        )),
        time => Ok(time),
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use kombu_core::{Options, Table};

    use super::*;

    fn read(options: Options) -> Result<SocketOptions> {
        let mut reader = OptionReader::new("redis", options);
        let read = SocketOptions::read(&mut reader)?;
        reader.finish()?;
        Ok(read)
    }

    #[test]
    fn options_of_a_program_in_python_are_understood() {
        let given = Options::new()
            .with("client_name", "worker")
            .with("socket_connect_timeout", 2.5)
            .with("socket_timeout", 30)
            .with("health_check_interval", 0)
            .with("max_connections", 20)
            .with("socket_keepalive", true)
            .with("socket_keepalive_options", Table::new().with("4", 60))
            .with("retry_on_timeout", false)
            .with("ack_emulation", true)
            .with("queue_order_strategy", "round_robin");
        let expected = SocketOptions {
            client_name: Some("worker".to_owned()),
            connect_timeout: Some(Duration::from_millis(2500)),
            timeout: Some(Duration::from_secs(30)),
            health_check_interval: Some(Duration::ZERO),
        };
        assert_eq!(read(given).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (name, value, kind) in [
            ("ack_emulation", "false", ErrorKind::Unsupported),
            ("retry_on_timeout", "true", ErrorKind::Unsupported),
            ("sentinel_fanout_compat", "true", ErrorKind::Unsupported),
            ("queue_order_strategy", "sorted", ErrorKind::Unsupported),
            ("socket_timeout", "0", ErrorKind::InvalidArgument),
        ] {
            let error = read(Options::new().with(name, value)).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
