//! `kombu delete`.

use clap::Args;

use crate::arguments::{Broker, Subject};
use crate::end::{End, Outcome};
use crate::session::Session;

/// Deletes a queue, and prints how many messages went with it; a missing queue is no error.
#[derive(Args)]
#[command(after_help = "Example:\n  kombu delete amqp://localhost// video")]
pub(crate) struct Delete {
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    subject: Subject,
}

impl Delete {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let gone = session.interrupt.unless(connection.delete_queue(&self.subject.queue)).await?;
        connection.close().await?;
        session.print(format!("{gone}\n").as_bytes())?;
        Ok(End::Done)
    }
}
