//! `kombu ping`.

use clap::Args;
use kombu::ConnectionState;

use crate::arguments::Broker;
use crate::end::{End, Outcome};
use crate::session::Session;

/// Connects to a broker, and prints what it is, where, and how long an answer takes.
#[derive(Args)]
#[command(after_help = "\
Example:
  kombu ping 'amqp://guest:guest@one//;amqp://guest:guest@two//'")]
pub(crate) struct Ping {
    #[command(flatten)]
    broker: Broker,
}

impl Ping {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let (server, latency) = session
            .interrupt
            .unless(async {
                // The first one also opens what it goes through.
                connection.ping().await?;
                Ok::<_, kombu::Error>((connection.server().await?, connection.ping().await?))
            })
            .await?;
        let place = match connection.state() {
            ConnectionState::Connected(url) => format!(" at {url}"),
            _ => String::new(),
        };
        connection.close().await?;
        let version = if server.version.is_empty() { "" } else { " " };
        let milliseconds = latency.as_secs_f64() * 1000.0;
        let line = format!(
            "{}{version}{}{place} answered in {milliseconds:.2} ms\n",
            server.product, server.version
        );
        session.print(line.as_bytes())?;
        Ok(End::Done)
    }
}
