//! Takes messages, and waits for some.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kombu_core::{Error, ErrorKind, Message, Properties, Result};
use kombu_virtual::envelope;
use kombu_virtual::{Claim, Claimed, Want};
use tokio::time::{Instant, sleep, sleep_until};

use crate::core::POLL;
use crate::ledger::Score;
use crate::record;
use crate::reply::Reply;
use crate::scripts::{CLAIM, number};
use crate::store::{MOST_BYTES, Receipt, RedisStore};
use crate::waiters::Awaited;

impl RedisStore {
    /// Takes messages, or waits until there are some.
    pub(crate) async fn take_or_wait(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        if claim.wait.is_zero() {
            return self.take(claim.wants, false).await;
        }
        let deadline = Instant::now() + claim.wait;
        let queues = claim.wants.iter().map(|want| &want.queue);
        let lists = queues.clone().flat_map(|queue| core.keys.lists(queue)).map(Awaited::List);
        let awaited = lists.chain(queues.map(|queue| Awaited::Queue(Arc::clone(queue)))).collect();
        // Before the first look, so that no change is missed.
        let place = core.waiters.enter(awaited);
        loop {
            let claimed = self.take(claim.wants, core.tracked).await?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                () = sleep_until(deadline) => return Ok(claimed),
                () = place.changed() => {}
                () = sleep(POLL), if !core.tracked => {}
            }
        }
    }

    /// Looks once at all queues of a claim.
    async fn take(&self, wants: &[Want], watch: bool) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let mut claimed = Vec::new();
        for want in wants {
            for message in core.fanout.take(&want.queue, want.limit) {
                let receipt = (!want.no_ack).then(|| Receipt::Fanout(message.clone()));
                claimed.push(read(&want.queue, receipt, message));
            }
        }
        let watch = watch && claimed.is_empty();
        let Some(first) = wants.first() else { return Ok(claimed) };
        let log = core.ledger.begin_claim(&first.queue, !core.keys.is_cluster());
        let taken = self.take_listed(wants, watch, core.log(&first.queue, log)).await;
        core.ledger.end_claim(log);
        claimed.extend(taken?);
        for want in wants {
            core.note_claimed(&want.queue);
            if let Some(after) = self.topology.used(&want.queue) {
                // A consumer may be slow to say that it is there.
                self.mark(&want.queue, after.max(GRACE)).await?;
                for list in core.keys.lists(&want.queue) {
                    core.call("PEXPIRE", vec![list, number(after.as_millis())]).await?;
                }
            }
        }
        Ok(claimed)
    }

    async fn take_listed(
        &self,
        wants: &[Want],
        watch: bool,
        log: Bytes,
    ) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let Some(first) = wants.first() else { return Ok(Vec::new()) };
        let _taking = core.taking.read().await;
        let mut keys =
            vec![core.keys.unacked(&first.queue), core.keys.unacked_index(&first.queue), log];
        let seconds = core.options.visibility_timeout.as_secs().saturating_mul(2).max(60);
        let mut arguments = vec![
            number(core.keys.steps()),
            number(MOST_BYTES),
            number(u8::from(watch)),
            number(seconds),
            Bytes::from(envelope::new_tag()),
        ];
        for want in wants {
            keys.extend(core.keys.lists(&want.queue));
            let no_ack = number(u8::from(want.no_ack));
            arguments.extend([number(want.limit), no_ack, record::tail(&want.queue)]);
        }
        let mut found = core.run(CLAIM, &keys, arguments).await?.into_list()?.into_iter();
        let score = found.next().map(Reply::into_text).transpose()?;
        let score = score.and_then(|text| Score::parse(&text)).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server's answer to a claim has no time")
        })?;
        let mut places = Vec::new();
        let mut entries = Vec::new();
        while let (Some(queue), Some(step), Some(tag), Some(message)) =
            (found.next(), found.next(), found.next(), found.next())
        {
            let Some(want) = usize::try_from(queue.into_int()?).ok().and_then(|at| wants.get(at))
            else {
                continue;
            };
            let message = message.into_bytes()?.unwrap_or_default();
            if !want.no_ack {
                let step = usize::try_from(step.into_int()?).unwrap_or(0);
                let tag = tag.into_bytes()?.unwrap_or_default();
                entries.push((Arc::clone(&want.queue), step, tag));
            }
            places.push((want, message));
        }
        let mut held = core.ledger.enter(score, entries).into_iter();
        let claimed = places.into_iter().map(|(want, message)| {
            let receipt = if want.no_ack { None } else { held.next().map(Receipt::Recorded) };
            read(&want.queue, receipt, message)
        });
        Ok(claimed.collect())
    }
}

/// Reads a message that was taken.
fn read(queue: &Arc<str>, receipt: Option<Receipt>, stored: Bytes) -> Claimed<Receipt> {
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

/// How long a queue that expires is there at least while it has a consumer.
const GRACE: Duration = Duration::from_secs(3);
