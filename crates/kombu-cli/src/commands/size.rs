//! `kombu size`.

use clap::Args;

use crate::arguments::{Broker, Subject};
use crate::end::{End, Outcome};
use crate::session::Session;

/// Prints how many messages wait in a queue.
#[derive(Args)]
#[command(after_help = "Example:\n  kombu size amqp://localhost// video")]
pub(crate) struct Size {
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    subject: Subject,
}

impl Size {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let waiting = session.interrupt.unless(connection.size(&self.subject.queue)).await?;
        connection.close().await?;
        session.print(format!("{waiting}\n").as_bytes())?;
        Ok(End::Done)
    }
}
