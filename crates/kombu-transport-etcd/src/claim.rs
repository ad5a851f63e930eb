//! Takes messages, and waits for some.

use std::sync::Arc;

use bytes::Bytes;
use etcd_client::{Compare, CompareOp, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use kombu_core::{Message, Properties, Result};
use kombu_virtual::envelope;
use kombu_virtual::{Claim, Claimed, Want};
use tokio::time::{Instant, sleep_until};

use crate::layout::OPERATIONS;
use crate::store::{EtcdStore, Receipt};
use crate::waiting::Candidate;

impl EtcdStore {
    /// Takes messages, or waits until there are some.
    pub(crate) async fn take_or_wait(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let deadline = Instant::now() + claim.wait;
        // Before the first look, so that no arrival is missed.
        let mut arrivals = self.views.arrivals.subscribe();
        loop {
            arrivals.mark_unchanged();
            let mut claimed = Vec::new();
            for want in claim.wants {
                self.take(want, &mut claimed).await?;
            }
            if claimed.is_empty() && claim.wait.is_zero() {
                for want in claim.wants {
                    self.look_again(want, &mut claimed).await?;
                }
                return Ok(claimed);
            }
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                () = sleep_until(deadline) => return Ok(claimed),
                _arrival = arrivals.changed() => {}
                lost = self.core.lost() => return Err(lost),
            }
        }
    }

    /// What others were confirmed a moment ago may not have been told here yet.
    async fn look_again(&self, want: &Want, into: &mut Vec<Claimed<Receipt>>) -> Result<()> {
        let newest = self.newest_change(&want.queue).await?;
        self.views.get(&self.core, &want.queue).await?.reach(newest).await;
        self.take(want, into).await
    }

    /// Takes what is known to wait in a queue, up to the limit.
    async fn take(&self, want: &Want, into: &mut Vec<Claimed<Receipt>>) -> Result<()> {
        let view = self.views.get(&self.core, &want.queue).await?;
        let (mut left, mut bytes) = (want.limit, 0);
        while left > 0 && bytes < MOST_BYTES {
            let candidates = view.waiting().pop(left.min(OPERATIONS), MOST_BYTES);
            if candidates.is_empty() {
                break;
            }
            match self.record(want, &candidates).await {
                Ok(taken) => {
                    left -= taken.len();
                    bytes += candidates.iter().map(|candidate| candidate.bytes).sum::<usize>();
                    into.extend(taken);
                }
                Err(refused) => {
                    view.waiting().put_back(candidates);
                    return Err(refused);
                }
            }
        }
        Ok(())
    }

    /// Takes those messages that nobody else has taken, each in a step of its own within one
    /// transaction.
    async fn record(&self, want: &Want, candidates: &[Candidate]) -> Result<Vec<Claimed<Receipt>>> {
        let steps: Vec<_> =
            candidates.iter().map(|candidate| TxnOp::txn(self.step(want, candidate))).collect();
        let answer = self.core.all(steps).await?;
        let revision = answer.header().map_or(0, |header| header.revision());
        let mut claimed = Vec::with_capacity(candidates.len());
        for (candidate, step) in candidates.iter().zip(answer.op_responses()) {
            let TxnOpResponse::Txn(step) = step else { continue };
            if !step.succeeded() {
                continue;
            }
            let (mut body, mut again) = (Bytes::new(), false);
            for part in step.op_responses() {
                match part {
                    TxnOpResponse::Get(mut got) => {
                        let kv = got.take_kvs().pop();
                        body = kv.map(|kv| kv.into_key_value().1).unwrap_or_default().into();
                    }
                    TxnOpResponse::Put(put) => {
                        // Each claim touches the message.
                        again |= put.prev_key().is_some_and(|before| before.version() > 1);
                    }
                    _ => {}
                }
            }
            let receipt = (!want.no_ack).then(|| Receipt {
                rank: candidate.place.rank,
                id: candidate.place.id.as_str().into(),
                revision,
            });
            let mut message = message(&want.queue, receipt, body);
            message.redelivered |= again;
            claimed.push(message);
        }
        Ok(claimed)
    }

    fn step(&self, want: &Want, candidate: &Candidate) -> Txn {
        let (keys, place) = (&self.core.keys, &candidate.place);
        let message = keys.message(&want.queue, place.rank, &place.id);
        let claim = keys.claim(&want.queue, place.rank, &place.id);
        let body = keys.body(&want.queue, &place.id);
        let free = [
            Compare::create_revision(message.clone(), CompareOp::Equal, place.revision),
            Compare::create_revision(claim.clone(), CompareOp::Equal, 0),
        ];
        let read = TxnOp::get(body.clone(), Some(GetOptions::new()));
        let steps = if want.no_ack {
            vec![read, TxnOp::delete(message, None), TxnOp::delete(body, None)]
        } else {
            let touch = PutOptions::new().with_prev_key();
            let owned = PutOptions::new().with_lease(self.core.lease);
            vec![
                read,
                TxnOp::put(message, candidate.bytes.to_string(), Some(touch)),
                TxnOp::put(claim, "", Some(owned)),
            ]
        };
        Txn::new().when(free).and_then(steps)
    }
}

/// Reads a message that was taken.
fn message(queue: &Arc<str>, receipt: Option<Receipt>, stored: Bytes) -> Claimed<Receipt> {
    match envelope::decode(&stored) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered;
            claimed
        }
        Err(error) => {
            let message = Message::new(stored, Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, message);
            claimed.broken = Some(error.to_string());
            claimed
        }
    }
}

/// The most bytes of messages that one claim takes from a queue, beside a last one.
const MOST_BYTES: usize = 4 << 20;
