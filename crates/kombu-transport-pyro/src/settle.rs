//! Settles messages that were taken.

use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;

use crate::message::{self, Receipt};
use crate::put::Missing;
use crate::shared::Held;
use crate::store::PyroStore;

impl PyroStore {
    /// Settles messages. The daemon forgot them when they were taken: what is done with is merely
    /// held no longer, and what goes back is stored again, at the end of its queue.
    pub(crate) async fn settle_all(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(batch.len());
        let mut parcels = Vec::new();
        let mut places = Vec::new();
        for settlement in batch {
            let Receipt(number) = settlement.receipt;
            let held = match settlement.outcome {
                Outcome::Requeue => self.link.held(number),
                _ => self.link.release(number),
            };
            match held {
                None => answers.push(Err(given_up())),
                Some(Held { queue, data }) if settlement.outcome == Outcome::Requeue => {
                    let data = match settlement.delivered {
                        true => message::mark_redelivered(&data),
                        false => data,
                    };
                    parcels.push(Held { queue, data });
                    places.push((answers.len(), number));
                    answers.push(Ok(()));
                }
                Some(_) => answers.push(Ok(())),
            }
        }
        let stored = self.link.put_all(&parcels, Missing::TakesThemAlong).await;
        for ((place, number), stored) in places.into_iter().zip(stored) {
            if stored.is_ok() {
                self.link.release(number);
            }
            if let Some(answer) = answers.get_mut(place) {
                *answer = stored;
            }
        }
        answers
    }
}

fn given_up() -> Error {
    Error::new(
        ErrorKind::StaleDelivery,
        "the message is not this connection's any more: its queue was deleted, or the link was \
         lost and it comes again",
    )
}
