//! Settles messages that were taken.

use futures_util::future::join_all;
use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;
use zookeeper_client::Error as Zk;

use crate::error::error;
use crate::layout::CLAIMS;
use crate::store::{Receipt, ZooKeeperStore};

impl ZooKeeperStore {
    /// Settles messages, all at once: those that go back have their places.
    pub(crate) async fn settle_all(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        if let Err(lost) = self.core.alive() {
            return batch.iter().map(|_| Err(lost.duplicate())).collect();
        }
        let core = &self.core;
        let steps: Vec<_> = batch
            .iter()
            .map(|settlement| {
                let name = &*settlement.receipt.0;
                let back = settlement.outcome == Outcome::Requeue;
                // Sent here and now.
                let gone = (!back)
                    .then(|| core.client.delete(&format!("{CLAIMS}/{}/{name}", core.owner), None));
                async move {
                    let held = match gone {
                        Some(gone) => match core.ask(gone).await? {
                            Ok(()) => true,
                            Err(Zk::NoNode) => false,
                            Err(refused) => return Err(error(refused)),
                        },
                        None => core.give_back(&core.owner, name, settlement.delivered).await?,
                    };
                    if let (true, true, Some((_, entry))) = (back, held, name.split_once(':')) {
                        self.views.returned(&settlement.queue, entry);
                    }
                    if held { Ok(()) } else { Err(given_up()) }
                }
            })
            .collect();
        join_all(steps).await
    }
}

fn given_up() -> Error {
    Error::new(
        ErrorKind::StaleDelivery,
        "the message is not this connection's any more: its queue was deleted, or another one \
         took this one for dead",
    )
}
