//! Settles messages that were taken.

use etcd_client::{Compare, CompareOp, Txn, TxnOp, TxnOpResponse};
use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;

use crate::layout::OPERATIONS;
use crate::store::{EtcdStore, Receipt};

impl EtcdStore {
    /// Settles messages, each in a step of its own within transactions of many.
    pub(crate) async fn settle_all(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let mut answers = Vec::with_capacity(batch.len());
        for part in batch.chunks(OPERATIONS) {
            let steps = part.iter().map(|settlement| TxnOp::txn(self.release(settlement)));
            match self.core.all(steps.collect()).await {
                Ok(answer) => {
                    let steps = answer.op_responses().into_iter();
                    answers.extend(part.iter().zip(steps).map(|(_, step)| match step {
                        TxnOpResponse::Txn(step) if step.succeeded() => Ok(()),
                        _ => Err(given_up()),
                    }));
                    let revision = answer.header().map_or(0, |header| header.revision());
                    self.wait_for_notice(part, revision).await;
                }
                Err(refused) => answers.extend(part.iter().map(|_| Err(refused.duplicate()))),
            }
        }
        answers
    }

    /// Deletes a claim, and with it the message unless that goes back; if the claim is still this
    /// link's.
    fn release(&self, settlement: &Settlement<Receipt>) -> Txn {
        let (keys, receipt) = (&self.core.keys, &settlement.receipt);
        let claim = keys.claim(&settlement.queue, receipt.rank, &receipt.id);
        let held = Compare::create_revision(claim.clone(), CompareOp::Equal, receipt.revision);
        let mut steps = Vec::with_capacity(3);
        if settlement.outcome != Outcome::Requeue {
            // Before the claim, so that it is never seen without one.
            let message = keys.message(&settlement.queue, receipt.rank, &receipt.id);
            steps.push(TxnOp::delete(message, None));
            steps.push(TxnOp::delete(keys.body(&settlement.queue, &receipt.id), None));
        }
        steps.push(TxnOp::delete(claim, None));
        Txn::new().when([held]).and_then(steps)
    }

    /// What went back is to be fetched before what is behind it.
    async fn wait_for_notice(&self, part: &[Settlement<Receipt>], revision: i64) {
        let mut told: Vec<&str> = Vec::new();
        for settlement in part.iter().filter(|one| one.outcome == Outcome::Requeue) {
            if !told.contains(&&*settlement.queue) {
                told.push(&settlement.queue);
                if let Some(view) = self.views.find(&settlement.queue) {
                    view.reach(revision).await;
                }
            }
        }
    }
}

fn given_up() -> Error {
    Error::new(
        ErrorKind::StaleDelivery,
        "the message is not this connection's any more: its queue was deleted, or the lease has \
         ended",
    )
}
