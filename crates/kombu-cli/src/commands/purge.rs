//! `kombu purge`.

use clap::Args;

use crate::arguments::{Broker, Subject};
use crate::end::{End, Outcome};
use crate::session::Session;

/// Drops the messages that wait in a queue, and prints how many there were.
#[derive(Args)]
#[command(after_help = "Example:\n  kombu purge amqp://localhost// video")]
pub(crate) struct Purge {
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    subject: Subject,
}

impl Purge {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let dropped = session.interrupt.unless(connection.purge(&self.subject.queue)).await?;
        connection.close().await?;
        session.print(format!("{dropped}\n").as_bytes())?;
        Ok(End::Done)
    }
}
